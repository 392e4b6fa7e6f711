"""The models of this project as MLflow serves them: it calls `_load_pyfunc` here by its name.

MLflow keeps this module and the library with each logged model, so it imports nothing else of ours.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.files import read_arrays
from stages.data.splits import split_path
from stages.models.loading import load_model
from stages.models.storage import Classifier, read_model

MODELS = Path("data/models")
# What a stored model needs to predict; inferring it would cost 14 s a model (mlflow #22880).
REQUIREMENTS = ("numpy", "scipy", "pandas", "scikit-learn", "pydantic", "ruamel.yaml")


@dataclass(frozen=True)
class Served:
    """What MLflow is told of a model.

    Attributes:
        name: what MLflow calls it.
        images: shape of what it takes, uint8.
        probabilities: shape of what it gives, float64.
        example: an image to try it with, uint8 [1, 32, 32, 3].
        requirements: the packages that it needs, with their versions.
        loader: the module that loads it.
    """

    name: str
    images: tuple[int, ...]
    probabilities: tuple[int, ...]
    example: np.ndarray
    requirements: list[str]
    loader: str = "stages.tracking.served_model"


def is_model(path: str) -> bool:
    """Whether an output is a model."""
    return Path(path).parent == MODELS


def describe(path: Path) -> Served:
    """What MLflow is told of the model in a file."""
    stored = read_model(path)
    validation = split_path("validation")
    packages = [*REQUIREMENTS, *([] if stored.kind == "baseline" else ["tensorflow", "keras"])]
    return Served(
        name=stored.kind,
        images=(-1, 32, 32, 3),
        probabilities=(-1, len(stored.classes)),
        example=read_arrays(validation)["images"][:1]
        if validation.exists()
        else np.zeros((1, 32, 32, 3), np.uint8),
        requirements=[f"{each}=={importlib.metadata.version(each)}" for each in packages],
    )


class ServedModel:
    """A classifier in the form that MLflow calls."""

    def __init__(self, classifier: Classifier) -> None:
        """Wrap a classifier."""
        self._classifier = classifier

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Probabilities, float64 [n, classes].

        Args:
            model_input: images uint8 [n, 32, 32, 3], or a mapping with them as `images`.
            params: not used; MLflow passes it.
        """
        del params
        images = model_input["images"] if isinstance(model_input, dict) else model_input
        return self._classifier.predict(np.asarray(images, dtype=np.uint8))


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load_model(Path(path)))
