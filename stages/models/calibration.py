"""What a model takes from the validation images: how sure it is, and when that is enough."""

from typing import TypedDict

import numpy as np

from stages.models.temperature import best_temperature, probabilities
from stages.statistics.classification import least_confidence

SURE_ACCURACY = 0.99  # of the predictions that count as sure
SURE_IMAGES = 100  # on which it is to be seen; 99 % of fewer is no whole number of mistakes


class Calibration(TypedDict):
    """Fields of a classifier that are chosen on the validation images."""

    temperature: float
    sure_from: float | None


def calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature, and the confidence from which predictions are right in 99 of 100 cases.

    Args:
        scores: float64 [n, classes], of images that the model was not trained on.
        labels: int [n].
    """
    temperature = best_temperature(scores, labels)
    calibrated = probabilities(scores, temperature)
    return {
        "temperature": temperature,
        "sure_from": least_confidence(labels, calibrated, SURE_ACCURACY, at_least=SURE_IMAGES),
    }
