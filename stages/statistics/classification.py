"""How good predictions are: the usual measures, for two classes or more."""

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.statistics.calibration import (
    LOWEST_PROBABILITY,
    calibration_slope,
    coverage,
    expected_calibration_error,
)
from stages.statistics.intervals import wilson


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All measures of a model on a split, of whatever split it is.

    Args:
        labels: int [n], every class among them.
        probabilities: float [n, classes].

    Returns:
        accuracy with its 95 % interval, accuracy_ci_low and accuracy_ci_high (see
        `intervals.wilson`); balanced_accuracy (mean recall of the classes); precision, recall, f1
        and roc_auc of the second class if there are two, else their unweighted mean over the
        classes, each against the rest; log_loss in nats; brier, the squared error of the
        probability of the second class if there are two (Brier, 1950, halved), else summed over the
        classes; ece and adaptive_ece, the expected calibration error; calibration_slope, unless
        there is none; coverage_at_99, the share of images that can be answered with an accuracy of
        99 % (for all of these see `calibration`).
    """
    answers = probabilities.argmax(axis=1)
    binary = probabilities.shape[1] == 2
    average = "binary" if binary else "macro"
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, answers, average=average, zero_division=0.0
    )
    scores = probabilities[:, 1] if binary else probabilities
    right = answers == labels
    low, high = wilson(int(right.sum()), len(labels))
    slope = calibration_slope(labels, probabilities)
    return {
        "accuracy": float(right.mean()),
        "accuracy_ci_low": low,
        "accuracy_ci_high": high,
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, answers)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(metrics.roc_auc_score(labels, scores, multi_class="ovr")),
        "log_loss": _log_loss(labels, probabilities),
        "brier": float(metrics.brier_score_loss(labels, scores)),
        "ece": expected_calibration_error(labels, probabilities),
        "adaptive_ece": expected_calibration_error(labels, probabilities, adaptive=True),
        **({} if slope is None else {"calibration_slope": slope}),
        "coverage_at_99": coverage(labels, probabilities, accuracy=0.99),
    }


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, LOWEST_PROBABILITY)).mean())


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
