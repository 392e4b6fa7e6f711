"""How good predictions are: the usual measures, for two classes or more, and calibration."""

import numpy as np
from scipy.special import logit
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from stages.statistics.intervals import wilson

BINS = 15  # as Guo et al., 2017, and most tables since
LOWEST_PROBABILITY = 1e-15  # so that a probability of 0 or 1 has log-odds
# Measures that a temperature changes.
CALIBRATED = ("log_loss", "brier", "ece", "adaptive_ece", "calibration_slope")

# Labels int [n], and probabilities float [n, classes] of the same images.
Predicted = tuple[np.ndarray, np.ndarray]


def training_metrics(train: Predicted, validation: Predicted) -> dict[str, dict[str, float]]:
    """What a stage that trains a model measures, by split.

    The temperature is chosen on the validation images, so that what it changes is not measured
    there.

    Returns:
        All measures of `classification_metrics` on the training images, and those which are not in
        `CALIBRATED` on the validation images.
    """
    measured = classification_metrics(*validation)
    return {
        "train": classification_metrics(*train),
        "validation": {name: measured[name] for name in measured if name not in CALIBRATED},
    }


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
        there is none; coverage_at_99, the share of images that can be predicted with an accuracy of
        99 % (for all of these see below).
    """
    predictions = probabilities.argmax(axis=1)
    binary = probabilities.shape[1] == 2
    average = "binary" if binary else "macro"
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predictions, average=average, zero_division=0.0
    )
    scores = probabilities[:, 1] if binary else probabilities
    right = predictions == labels
    own = np.maximum(probabilities[np.arange(len(labels)), labels], LOWEST_PROBABILITY)
    low, high = wilson(int(right.sum()), len(labels))
    slope = calibration_slope(labels, probabilities)
    return {
        "accuracy": float(right.mean()),
        "accuracy_ci_low": low,
        "accuracy_ci_high": high,
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, predictions)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(metrics.roc_auc_score(labels, scores, multi_class="ovr")),
        "log_loss": float(-np.log(own).mean()),
        "brier": float(metrics.brier_score_loss(labels, scores)),
        "ece": expected_calibration_error(labels, probabilities),
        "adaptive_ece": expected_calibration_error(labels, probabilities, adaptive=True),
        **({} if slope is None else {"calibration_slope": slope}),
        "coverage_at_99": coverage(labels, probabilities, accuracy=0.99),
    }


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, *, adaptive: bool = False
) -> float:
    """Mean distance of confidence and accuracy over bins of confidence, weighted by their images.

    The confidence is the probability of the prediction. Source: C. Guo et al., "On Calibration of
    Modern Neural Networks", 2017, equation 3.

    Args:
        labels: int [n].
        probabilities: float [n, classes].
        adaptive: bins of equally many images instead of equal width: a network is sure of nearly
            all, and most bins of equal width are empty (J. Nixon et al., "Measuring Calibration in
            Deep Learning", 2019).

    Returns:
        0 (perfect) to 1.
    """
    confidence = probabilities.max(axis=1)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    if adaptive:
        bins = np.array_split(gaps[np.argsort(confidence, kind="stable")], BINS)
    else:
        upper_edges = np.arange(1, BINS) / BINS
        of_image = np.searchsorted(upper_edges, confidence)  # an edge belongs to the bin below it
        bins = [gaps[of_image == number] for number in range(BINS)]
    return float(sum(abs(each.sum()) for each in bins) / len(labels))


def calibration_slope(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Slope of the logistic regression of the class on the log-odds that a model gives it.

    1 is right; below 1 the model is too sure, above 1 not sure enough. Source: D. R. Cox, "Two
    further applications of a model for binary regression", Biometrika 45 (1958).

    Args:
        labels: int [n].
        probabilities: float [n, classes].

    Returns:
        Of the second class if there are two, else the mean over the classes, each against the rest.
        None where no slope is the best: if the probabilities separate a class from the rest without
        a mistake, or with nothing but mistakes, the curve fits better the steeper it is.
    """
    n_classes = probabilities.shape[1]
    slopes = []
    for number in [1] if n_classes == 2 else range(n_classes):
        is_class = labels == number
        own = probabilities[:, number]
        inside, outside = own[is_class], own[~is_class]
        if inside.min() >= outside.max() or inside.max() <= outside.min():
            return None
        log_odds = logit(np.clip(own, LOWEST_PROBABILITY, 1 - LOWEST_PROBABILITY))
        regression = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
        slopes.append(regression.fit(log_odds[:, None], is_class).coef_[0, 0])
    return float(np.mean(slopes))


def coverage(labels: np.ndarray, probabilities: np.ndarray, accuracy: float) -> float:
    """Share of the images that a model can predict with an accuracy if it may pass on the others.

    It predicts those of which it is surest; the arguments are those of `least_confidence`.

    Returns:
        0 (it may predict none) to 1.
    """
    least = least_confidence(labels, probabilities, accuracy)
    return 0.0 if least is None else float((probabilities.max(axis=1) >= least).mean())


def least_confidence(
    labels: np.ndarray, probabilities: np.ndarray, accuracy: float, *, at_least: int = 1
) -> float | None:
    """The least probability of a prediction from which on predictions have an accuracy.

    Source: Y. Geifman and R. El-Yaniv, "Selective Classification for Deep Neural Networks", 2017.
    The limit is found on these very images: on new ones the accuracy will be somewhat lower.

    Args:
        labels: int [n].
        probabilities: float [n, classes].
        accuracy: of the predictions made, above 0 to 1.
        at_least: how many images have to be predicted: of few, any accuracy may be chance.

    Returns:
        The probability; None if even the surest predictions are not so accurate.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    numbers = np.arange(1, len(labels) + 1)
    accuracies = np.cumsum(right) / numbers
    # Images of the same confidence are predicted together or not at all.
    ends = np.append(np.diff(confidence[order]) != 0, True)
    enough = np.flatnonzero((accuracies >= accuracy) & ends & (numbers >= at_least))
    return float(confidence[order][enough[-1]]) if enough.size else None
