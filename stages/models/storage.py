"""How a model is stored: one `.npz` file whose bytes depend on its content alone.

Keras's own `.keras` files hold the date and differ from save to save (keras issue 15948), and
pickles can run code; plain arrays with a JSON header do neither. One file has one md5, by which
DVC and MLflow speak of the same model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stages.data.errors import UserError
from stages.data.files import read_arrays, write_arrays

HEADER = "header.json"


@dataclass(frozen=True)
class StoredModel:
    """What a model file holds.

    Attributes:
        kind: which classifier it is: `baseline`, `cnn` or `mobilenet`.
        classes: names of the classes, in the order of the probabilities.
        settings: everything besides the arrays that is needed to build the classifier.
        arrays: the weights, by name.
    """

    kind: str
    classes: list[str]
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Classifier(Protocol):
    """A trained model that takes raw images; preprocessing is its own business."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""

    @property
    def photo_size(self) -> int:
        """Side in pixels of the images that it takes."""

    @property
    def sure_from(self) -> float | None:
        """Probability from which a prediction is right in 99 of 100 cases; None if none is."""

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Before the softmax, float64 [n, classes]; images uint8 [n, photo_size, photo_size, 3]."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes]; images uint8 [n, photo_size, photo_size, 3]."""

    def to_stored(self) -> StoredModel:
        """The model as it is written to a file."""


def save_model(path: Path, classifier: Classifier) -> None:
    """Write a classifier to an `.npz` file."""
    model = classifier.to_stored()
    header = {"kind": model.kind, "classes": model.classes, "settings": model.settings}
    write_arrays(path, {HEADER: np.array(json.dumps(header, sort_keys=True)), **model.arrays})


def read_model(path: Path) -> StoredModel:
    """Read what a model file holds, without building the classifier.

    Raises:
        UserError: the file is missing, damaged or not a model.
    """
    arrays = read_arrays(path)
    if HEADER not in arrays:
        raise UserError(f"{path}: is not a model of this project; models are in data/models/")
    header = json.loads(str(arrays.pop(HEADER)))
    return StoredModel(arrays=arrays, **header)
