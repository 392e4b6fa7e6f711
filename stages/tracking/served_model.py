"""How MLflow loads a logged model: it calls `_load_pyfunc` of this module by its name."""

from pathlib import Path
from typing import Any

import numpy as np

from stages.models.loading import load_model
from stages.models.storage import Classifier


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
