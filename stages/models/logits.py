"""From a network's outputs to probabilities; no TensorFlow needed."""

import numpy as np
from scipy.special import expit, softmax


def output_units(n_classes: int) -> int:
    """Units of a network's last layer: one for two classes (as in the lecture), else one each."""
    return 1 if n_classes == 2 else n_classes


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the classes.

    Args:
        logits: float [n, output_units]; a single unit speaks for the second of two classes.

    Returns:
        float64 [n, classes], rows sum to 1.
    """
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        return np.hstack([expit(-logits), expit(logits)])
    spread: np.ndarray = softmax(logits, axis=1)
    return spread
