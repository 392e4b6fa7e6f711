"""What a model says of photos, in words: the class, its probability, and whether that is enough."""

from dataclasses import dataclass

import numpy as np

from stages.models.storage import Classifier

NOT_SURE = "not sure"


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


def predictions_of(classifier: Classifier, images: np.ndarray) -> list[PhotoPrediction]:
    """What a model says of each photo.

    Args:
        classifier: the model.
        images: uint8 [n, photo_size, photo_size, 3], as `stages.data.photos.read_photo` makes them.

    Raises:
        UserError: they are no such images (see `stages.models.images.checked_images`).
    """
    sure_from = np.inf if classifier.sure_from is None else classifier.sure_from
    return [
        PhotoPrediction(
            classifier.classes[row.argmax()],
            float(row.max()),
            bool(row.max() >= sure_from),
            dict(zip(classifier.classes, row.tolist(), strict=True)),
        )
        for row in classifier.predict(images)
    ]
