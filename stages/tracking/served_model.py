"""The models of this project in MLflow: how one is logged, and how MLflow loads it.

MLflow keeps the library with each logged model and calls `_load_pyfunc` of this module by its name,
so nothing of tracking is imported here, and MLflow only where it is there already.
"""

import hashlib
import importlib.metadata
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.data.splits import split_path
from stages.models.images import checked_images
from stages.models.loading import load_model
from stages.models.storage import HEADER, Classifier, read_model

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from stages.workflow.revisions import Revision

LIBRARY, LOADER = "stages", "stages/tracking/served_model.py"
# What a stored model needs to predict; inferring it would cost 14 s a model (mlflow #22880).
REQUIREMENTS = ("numpy", "scipy", "scikit-learn")
OF_NETWORKS = ("tensorflow", "keras", "pandas", "tqdm")
TRIAL = """\
import sys, numpy
from stages.tracking.served_model import _load_pyfunc
_load_pyfunc(sys.argv[1]).predict({"images": numpy.full((1, 32, 32, 3), 99, numpy.uint8)})
"""
_tried: dict[tuple[str, str], str] = {}  # why a kind of model cannot be loaded by a library


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

        Raises:
            MlflowException: they are no such images; its server then answers 400 with the reason.
        """
        from mlflow.exceptions import MlflowException

        del params
        is_named = isinstance(model_input, dict)
        images: Any = model_input.get("images") if is_named else model_input
        try:
            checked_images(images, self._classifier.photo_size)
            # Of JSON, MLflow makes whole numbers by the signature before anybody can look.
            if images.max() <= 1:
                what = "no value is above 1: numbers in [0, 1] are cut to 0 on their way here"
                raise UserError(f"images: {what}; give whole numbers from 0 to 255")
            return self._classifier.predict(images)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def is_stored_model(content: bytes) -> bool:
    """Whether a file is a model as this library stores it."""
    file = BytesIO(content)
    return zipfile.is_zipfile(file) and f"{HEADER}.npy" in zipfile.ZipFile(file).namelist()


def log_model(
    run_id: str,
    path: str,
    files: Mapping[str, bytes],
    revision: "Revision",
    params: Mapping[str, Any],
    *,
    try_it: bool,
) -> str:
    """Log a model: one of this library so that it can be served, any other as its files.

    Args:
        run_id: the run that made it.
        path: of the model, a file or a folder.
        files: content of each, by its path.
        revision: whose code is to load it.
        params: of the stage; among them versions of libraries, as `libraries.yaml:numpy`.
        try_it: whether to give an example, which MLflow at once has the model predict (a network
            takes seconds for it).

    Returns:
        Why there is no such model: its code cannot load it, or the server is older than MLflow 3;
        empty if there is one.
    """
    from mlflow.exceptions import MlflowException

    from stages.tracking import environment, store

    content = files.get(path, b"")
    try:
        with environment.patience():
            # Code of another project is not run: a fork has such models, too.
            is_ours = Path(LIBRARY).resolve() == Path(__file__).resolve().parents[1]
            if is_ours and is_stored_model(content):
                name = Path(path).name
                return _log_classifier(run_id, name, content, revision, params, try_it=try_it)
            below = {file.removeprefix(f"{path}/"): found for file, found in files.items()}
            store.log_files_as_model(run_id, Path(path).stem, below)
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
        return "the server is older than MLflow 3, which keeps such models"
    return ""


def _log_classifier(
    run_id: str,
    name: str,
    content: bytes,
    revision: "Revision",
    params: Mapping[str, Any],
    *,
    try_it: bool,
) -> str:
    """Log the very file of a model, and the code that loads it; why not, if it does not."""
    from mlflow import pyfunc
    from mlflow.models import Model

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        file = Path(folder) / name
        file.write_bytes(content)
        stored = read_model(file)
        code, md5 = _code_of(revision, Path(folder))
        if md5 and (reason := _why_not_loaded(code, file, (stored.kind, md5))):
            return f"its code does not load it ({reason})"
        whose = revision.commit if code.is_absolute() else "as it was when this was logged"
        packages = [*REQUIREMENTS, *(OF_NETWORKS if stored.kind != "baseline" else ())]
        versions = {
            each: params.get(f"libraries.yaml:{each}") or importlib.metadata.version(each)
            for each in packages
        }
        Model.log(
            artifact_path=None,
            name=stored.kind,
            flavor=pyfunc,
            run_id=run_id,
            loader_module="stages.tracking.served_model",
            data_path=str(file),
            code_paths=[str(code)],
            signature=signature_of(len(stored.classes)),
            input_example={"images": _an_image()} if try_it else None,
            pip_requirements=[f"{each}=={version}" for each, version in versions.items()],
            tags={"code": whose},
        )
    return ""


def signature_of(n_classes: int) -> "ModelSignature":
    """What a model takes and gives, in the words of MLflow."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, 32, 32, 3), "images")
    probabilities = TensorSpec(np.dtype(np.float64), (-1, n_classes))
    return ModelSignature(Schema([images]), Schema([probabilities]))


def _an_image() -> np.ndarray:
    path = split_path("validation")
    return read_arrays(path)["images"][:1] if path.exists() else np.full((1, 32, 32, 3), 99, "u1")


def _code_of(revision: "Revision", folder: Path) -> tuple[Path, str]:
    """Where the library is as a revision has it, and an md5 of it if it is not that of today.

    It is written below a folder; one without a loader, from before there was one, gives way to that
    of today.
    """
    here = Path(LIBRARY)
    paths = [] if revision.is_workspace else revision.paths_below(LIBRARY)
    files = {path: revision.read(path) or b"" for path in paths}
    if all(Path(path).is_file() and Path(path).read_bytes() == files[path] for path in paths):
        return here, ""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    md5 = hashlib.md5(b"".join(files.values()), usedforsecurity=False).hexdigest()
    return (folder / LIBRARY if LOADER in files else here), md5


def _why_not_loaded(code: Path, file: Path, about: tuple[str, str]) -> str:
    """Why a library cannot load a model and predict with it; empty if it can.

    Tried, in a process of its own, is the first model of each kind and library: networks take
    seconds, and there may be hundreds.
    """
    if about not in _tried:
        tried = subprocess.run(  # noqa: S603  # the project's own code
            [sys.executable, "-c", TRIAL, str(file.resolve())],
            cwd=code.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        reason = (tried.stderr.strip() or f"exit code {tried.returncode}").splitlines()[-1]
        _tried[about] = reason[:200] if tried.returncode else ""
    return _tried[about]


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load_model(Path(path)))
