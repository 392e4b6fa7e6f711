"""From scores to probabilities by one factor, which is chosen on the validation images."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities, float64 [n, classes], of scores float64 [n, classes]; 1 is a plain softmax."""
    spread: np.ndarray = softmax(scores / temperature, axis=1)
    return spread


def best_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the lowest log loss on these images; no prediction changes.

    A class with n images is wanted with the probability (n + 1) / (n + 2), not 1: on a few images
    that are all right, the best temperature would else be 0, and the model infinitely sure.

    Sources: temperature scaling, C. Guo et al., "On Calibration of Modern Neural Networks", 2017,
    section 4.2; the targets, J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.

    Args:
        scores: float64 [n, classes], of images that the model was not trained on.
        labels: int [n].
    """
    n_classes = scores.shape[1]
    doubt = 1 / (np.bincount(labels, minlength=n_classes)[labels] + 2)
    targets = np.repeat(doubt[:, None] / (n_classes - 1), n_classes, axis=1)
    targets[np.arange(len(labels)), labels] = 1 - doubt

    def log_loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-(targets * log_probabilities).sum(axis=1).mean())

    best = minimize_scalar(log_loss, bounds=(-7, 7), method="bounded")
    return float(np.exp(best.x))
