"""Least squares on gray pixels: the model that the others must beat."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.linear_model import Ridge

from stages.data.resizing import resized
from stages.models.storage import StoredModel
from stages.models.temperature import probabilities

# Luma of ITU-R BT.601, the usual conversion to gray (also Pillow's and OpenCV's).
LUMA = np.array([0.299, 0.587, 0.114])
SIDE = 32  # pixels; the unknowns are their square
CHUNK = 1000  # images whose pixels are held at once
# More images than that make 1,024 weights no better, and their pixels would fill the memory.
MOST_IMAGES = 100_000


@dataclass(frozen=True)
class LeastSquaresClassifier:
    """A linear score for each class; the highest wins.

    Attributes:
        classes: names of the classes.
        weights: float64 [1024, classes], for gray pixels in [0, 1], row-major.
        intercept: float64 [classes].
        photo_size: side in pixels of the images that it is given.
        temperature: by which the scores are divided before the softmax.
        sure_from: probability from which a prediction counts as sure; None if none does.
    """

    classes: list[str]
    weights: np.ndarray
    intercept: np.ndarray
    photo_size: int
    temperature: float = 1.0
    sure_from: float | None = None

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Linear scores, float64 [n, classes]; the targets were +1 and -1."""
        parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        return np.concatenate([gray_pixels(part) @ self.weights + self.intercept for part in parts])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes], of images uint8 [n, photo_size, photo_size, 3]."""
        return probabilities(self.scores(images), self.temperature)

    def to_stored(self) -> StoredModel:
        """The model as it is written to a file."""
        arrays = {"weights": self.weights, "intercept": self.intercept}
        settings = {
            "photo_size": self.photo_size,
            "temperature": self.temperature,
            "sure_from": self.sure_from,
        }
        return StoredModel("baseline", self.classes, settings, arrays)

    @classmethod
    def from_stored(cls, stored: StoredModel) -> Self:
        """The model as it was written to a file."""
        arrays = stored.arrays
        return cls(stored.classes, arrays["weights"], arrays["intercept"], **stored.settings)


def gray_pixels(images: np.ndarray) -> np.ndarray:
    """Gray values in [0, 1], float64 [n, 1024], of images uint8 [n, side, side, 3]."""
    gray = np.empty((len(images), SIDE * SIDE))
    for start in range(0, len(images), CHUNK):
        part = resized(images[start : start + CHUNK], SIDE)
        gray[start : start + CHUNK] = part.reshape(len(part), -1, 3) @ (LUMA / 255)
    return gray


def fit_least_squares(
    images: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
    ridge: float,
    class_weights: np.ndarray | None = None,
) -> LeastSquaresClassifier:
    """Fit the weights in closed form.

    The normal equations are solved by Cholesky decomposition: 1,024 unknowns against thousands of
    images, well enough conditioned in float64 (weights agree to 1e-11 with those of the singular
    value decomposition in `numpy.linalg.lstsq`), in two thirds of its time
    (benchmarks/least_squares.py).

    Args:
        images: uint8 [n, side, side, 3].
        labels: int [n], an index into `classes`.
        classes: names of the classes.
        ridge: L2 penalty on the weights, 0 for none.
        class_weights: float64 [classes], how much an image of each counts; None for one each.

    Returns:
        The classifier, its temperature 1.
    """
    chosen = slice(None, None, -(-len(images) // MOST_IMAGES))
    images, labels = images[chosen], labels[chosen]
    targets = np.where(labels[:, None] == np.arange(len(classes)), 1.0, -1.0)
    weights = None if class_weights is None else class_weights[labels]
    regression = Ridge(alpha=ridge, solver="cholesky")
    regression.fit(gray_pixels(images), targets, weights)
    return LeastSquaresClassifier(
        classes,
        np.ascontiguousarray(regression.coef_.T),
        regression.intercept_,
        photo_size=images.shape[1],
    )
