"""Measures of a classifier's predictions."""
