"""Least squares on gray pixels: the model that the others must beat."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import Ridge

from stages.models.storage import StoredModel

# Luma of ITU-R BT.601, the usual conversion to gray (also Pillow's and OpenCV's).
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class LeastSquaresClassifier:
    """A linear score for each class; the highest wins.

    Attributes:
        classes: names of the classes.
        weights: float64 [1024, classes], for gray pixels in [0, 1], row-major.
        intercept: float64 [classes].
        sharpness: factor of the scores before the softmax that makes probabilities of them.
    """

    classes: list[str]
    weights: np.ndarray
    intercept: np.ndarray
    sharpness: float

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Linear scores, float64 [n, classes]; the targets were +1 and -1."""
        scores: np.ndarray = gray_pixels(images) @ self.weights + self.intercept
        return scores

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes], of images uint8 [n, 32, 32, 3]."""
        probabilities: np.ndarray = softmax(self.sharpness * self.scores(images), axis=1)
        return probabilities

    def to_stored(self) -> StoredModel:
        """The model as it is written to a file."""
        arrays = {"weights": self.weights, "intercept": self.intercept}
        return StoredModel("baseline", self.classes, {"sharpness": self.sharpness}, arrays)

    @classmethod
    def from_stored(cls, stored: StoredModel) -> Self:
        """The model as it was written to a file."""
        arrays = stored.arrays
        sharpness = stored.settings["sharpness"]
        return cls(stored.classes, arrays["weights"], arrays["intercept"], sharpness)


def gray_pixels(images: np.ndarray) -> np.ndarray:
    """Gray values in [0, 1], float64 [n, 1024], of images uint8 [n, 32, 32, 3]."""
    gray: np.ndarray = images.reshape(len(images), -1, 3) @ (LUMA / 255)
    return gray


def fit_least_squares(
    images: np.ndarray, labels: np.ndarray, classes: list[str], ridge: float
) -> LeastSquaresClassifier:
    """Fit the weights in closed form.

    The normal equations are solved by Cholesky decomposition: 1,024 unknowns against thousands of
    images, well enough conditioned in float64 (weights agree to 1e-11 with those of the singular
    value decomposition in `numpy.linalg.lstsq`), in two thirds of its time
    (benchmarks/least_squares.py).

    Args:
        images: uint8 [n, 32, 32, 3].
        labels: int [n], an index into `classes`.
        classes: names of the classes.
        ridge: L2 penalty on the weights, 0 for none.

    Returns:
        The classifier, its sharpness 1 (see `sharpened`).
    """
    targets = np.where(labels[:, None] == np.arange(len(classes)), 1.0, -1.0)
    regression = Ridge(alpha=ridge, solver="cholesky").fit(gray_pixels(images), targets)
    return LeastSquaresClassifier(
        classes, np.ascontiguousarray(regression.coef_.T), regression.intercept_, sharpness=1.0
    )


def sharpened(
    classifier: LeastSquaresClassifier, images: np.ndarray, labels: np.ndarray
) -> LeastSquaresClassifier:
    """Choose the sharpness that gives these images the lowest log loss; no prediction changes.

    Least squares gives scores, not probabilities. One factor before the softmax, "temperature
    scaling" (Guo et al., 2017, section 4.2), makes them comparable with the networks'.

    Args:
        classifier: as fitted.
        images: uint8 [n, 32, 32, 3], not those that it was fitted on.
        labels: int [n].
    """
    scores = classifier.scores(images)

    def log_loss(log_sharpness: float) -> float:
        log_probabilities = log_softmax(np.exp(log_sharpness) * scores, axis=1)
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())

    best = minimize_scalar(log_loss, bounds=(-7, 7), method="bounded")
    return replace(classifier, sharpness=float(np.exp(best.x)))
