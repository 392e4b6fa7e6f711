"""The ROC curve."""

import numpy as np
import pandas as pd
from sklearn import metrics


def roc_points(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The ROC curve: of the second of two classes, else the mean of each class against the rest.

    Args:
        labels: int [n].
        probabilities: float [n, classes].

    Returns:
        Columns false_positive_rate and true_positive_rate, rising from 0 to 1.
    """
    n_classes = probabilities.shape[1]
    positives = [1] if n_classes == 2 else range(n_classes)
    curves = [metrics.roc_curve(labels == c, probabilities[:, c])[:2] for c in positives]
    if len(curves) == 1:
        false_rate, true_rate = curves[0]
    else:
        false_rate = np.linspace(0, 1, 201)
        true_rate = np.mean([np.interp(false_rate, *curve) for curve in curves], axis=0)
        true_rate[0] = 0.0
    return pd.DataFrame({"false_positive_rate": false_rate, "true_positive_rate": true_rate})
