"""The bridge from DVC to MLflow."""
