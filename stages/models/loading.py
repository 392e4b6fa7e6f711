"""One function that loads any of the models."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from stages.data.errors import UserError
from stages.models.images import checked_images
from stages.models.storage import Classifier, StoredModel, read_model


class CheckedClassifier:
    """A classifier that looks at its images first; else as the one that it holds."""

    def __init__(self, classifier: Classifier) -> None:
        """Hold a classifier."""
        self._classifier = classifier

    def __getattr__(self, name: str) -> Any:
        """All but the two that take images."""
        return getattr(self._classifier, name)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores, float64 [n, classes], of images uint8 [n, photo_size, photo_size, 3]."""
        return self._classifier.scores(checked_images(images, self._classifier.photo_size))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes], of images uint8 [n, photo_size, photo_size, 3]."""
        return self._classifier.predict(checked_images(images, self._classifier.photo_size))


def load_model(path: Path) -> Classifier:
    """Load a classifier, whatever its kind; TensorFlow is imported only if it is needed.

    Its `scores` and `predict` raise a UserError for what are no images (see `checked_images`).

    Args:
        path: a file in `data/models/`.

    Raises:
        UserError: the file is missing, damaged or of an unknown kind.
    """
    return cast("Classifier", CheckedClassifier(_loaded(path, read_model(path))))


def _loaded(path: Path, stored: StoredModel) -> Classifier:
    if stored.kind == "baseline":
        from stages.models.baseline import LeastSquaresClassifier

        return LeastSquaresClassifier.from_stored(stored)
    if stored.kind not in ("cnn", "mobilenet"):
        known = "baseline, cnn, mobilenet"
        raise UserError(f"{path}: is a {stored.kind!r}; this version loads {known}")
    from stages.models.cnn import build_cnn
    from stages.models.mobilenet import build_mobilenet
    from stages.models.network import from_stored

    return from_stored(stored, build_cnn if stored.kind == "cnn" else build_mobilenet)
