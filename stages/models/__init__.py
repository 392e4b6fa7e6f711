"""The three classifiers, how they are trained and how they are stored."""
