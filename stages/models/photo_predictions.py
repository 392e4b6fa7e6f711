"""What a model says of photos, in words: the class, its probability, and whether that is enough."""

import threading
from dataclasses import dataclass

import numpy as np

from stages.data.progress import untold
from stages.models.storage import Classifier

NOT_SURE = "not sure"
# One prediction after the other: a network uses all cores, and a batch of a server is small.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class PhotoPrediction:
    """What a model says of one photo.

    Attributes:
        prediction: the class with the highest probability.
        probability: of that class.
        sure: whether the probability reaches `Classifier.sure_from`.
        probabilities: of each class, by its name.
    """

    prediction: str
    probability: float
    sure: bool
    probabilities: dict[str, float]

    @property
    def shown(self) -> str:
        """The class, or that the model is not sure of it."""
        return self.prediction if self.sure else NOT_SURE

    @property
    def row(self) -> dict[str, str | float | bool]:
        """As a row of a table, by the names of its columns (see `columns`)."""
        said: dict[str, str | float | bool] = {
            "prediction": self.prediction,
            "probability": self.probability,
            "sure": self.sure,
        }
        return said | {f"probability_{name}": p for name, p in self.probabilities.items()}


def columns(classes: list[str]) -> dict[str, type]:
    """The columns of a table of predictions, and what is in them."""
    return {"prediction": str, "probability": float, "sure": bool} | {
        f"probability_{name}": float for name in classes
    }


def predictions_of(classifier: Classifier, images: np.ndarray) -> list[PhotoPrediction]:
    """What a model says of each photo.

    Args:
        classifier: the model.
        images: uint8 [n, photo_size, photo_size, 3], as `stages.data.photos.read_photo` makes them.

    Raises:
        UserError: they are no such images (see `stages.models.images.checked_images`).
    """
    with _one_at_a_time, untold():
        probabilities = classifier.predict(images)
    sure_from = np.inf if classifier.sure_from is None else classifier.sure_from
    return [
        PhotoPrediction(
            classifier.classes[row.argmax()],
            float(row.max()),
            bool(row.max() >= sure_from),
            dict(zip(classifier.classes, row.tolist(), strict=True)),
        )
        for row in probabilities
    ]
