"""Which images are worth a look: sure mistakes, unsure hits, labels that all models contradict.

Each function gives positions of images, the most telling first.
"""

from collections.abc import Sequence

import numpy as np


def sure_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Images predicted wrongly, the most confident prediction first.

    Args:
        labels: int [n].
        probabilities: float [n, classes].

    Returns:
        int [m], positions.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def unsure_hits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Images predicted rightly, the least confident prediction first; arguments as above."""
    right = np.flatnonzero(probabilities.argmax(axis=1) == labels)
    return right[np.argsort(probabilities[right].max(axis=1), kind="stable")]


def joint_contradictions(labels: np.ndarray, predicted: Sequence[np.ndarray]) -> np.ndarray:
    """Images for which all models predict the same class and the label is another.

    Args:
        labels: int [n].
        predicted: float [n, classes] of each model.

    Returns:
        int [m], positions, the highest mean probability of the prediction first.
    """
    predictions = np.stack([probabilities.argmax(axis=1) for probabilities in predicted])
    contradicted = np.flatnonzero(
        (predictions == predictions[0]).all(axis=0) & (predictions[0] != labels)
    )
    mean = np.mean(predicted, axis=0)[contradicted, predictions[0][contradicted]]
    return contradicted[np.argsort(-mean, kind="stable")]
