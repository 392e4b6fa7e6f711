"""The models of this project in MLflow: how one is logged, and how MLflow loads it.

MLflow keeps the library with each logged model and calls `_load_pyfunc` of this module by its name,
so nothing of tracking is imported here, and MLflow only where it is there already.
"""

import importlib.metadata
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.files import read_arrays
from stages.data.splits import split_path
from stages.models.loading import load_model
from stages.models.storage import HEADER, Classifier, read_model

# What a stored model needs to predict; inferring it would cost 14 s a model (mlflow #22880).
REQUIREMENTS = ("numpy", "scipy", "scikit-learn")
OF_NETWORKS = ("tensorflow", "keras", "pandas", "tqdm")


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


def is_stored_model(content: bytes) -> bool:
    """Whether a file is a model as this library stores it."""
    file = BytesIO(content)
    return zipfile.is_zipfile(file) and f"{HEADER}.npy" in zipfile.ZipFile(file).namelist()


def log_model(run_id: str, path: str, files: Mapping[str, bytes], *, try_it: bool) -> None:
    """Log a model: one of this library so that it can be served, any other as its files.

    Args:
        run_id: the run that made it.
        path: of the model, a file or a folder.
        files: content of each, by its path.
        try_it: whether to give an example, which MLflow at once has the model predict (a network
            takes seconds for it).
    """
    content = files.get(path, b"")
    if is_stored_model(content):
        _log_classifier(run_id, Path(path).name, content, try_it=try_it)
        return
    from stages.tracking import store

    below = {file.removeprefix(f"{path}/"): found for file, found in files.items()}
    store.log_files_as_model(run_id, Path(path).stem, below)


def _log_classifier(run_id: str, name: str, content: bytes, *, try_it: bool) -> None:
    """Log the very file of a model, and the code that loads it."""
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        file = Path(folder) / name
        file.write_bytes(content)
        stored = read_model(file)
        packages = [*REQUIREMENTS, *(OF_NETWORKS if stored.kind != "baseline" else ())]
        images = TensorSpec(np.dtype(np.uint8), (-1, 32, 32, 3), "images")
        probabilities = TensorSpec(np.dtype(np.float64), (-1, len(stored.classes)))
        Model.log(
            artifact_path=None,
            name=stored.kind,
            flavor=pyfunc,
            run_id=run_id,
            loader_module="stages.tracking.served_model",
            data_path=str(file),
            code_paths=["stages"],
            signature=ModelSignature(Schema([images]), Schema([probabilities])),
            input_example={"images": _an_image()} if try_it else None,
            pip_requirements=[f"{each}=={importlib.metadata.version(each)}" for each in packages],
        )


def _an_image() -> np.ndarray:
    path = split_path("validation")
    return read_arrays(path)["images"][:1] if path.exists() else np.zeros((1, 32, 32, 3), np.uint8)


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load_model(Path(path)))
