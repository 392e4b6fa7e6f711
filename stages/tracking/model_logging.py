"""How a model of this project is logged to MLflow: its file, and the code that loads it."""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from stages.models.storage import HEADER, read_model
from stages.tracking import environment, store
from stages.tracking.served_model import an_input, signature_of
from stages.workflow.libraries import LIBRARIES_FILE
from stages.workflow.pipeline import md5_of, param_name
from stages.workflow.revisions import Revision

LIBRARY, LOADER = "stages", "stages/tracking/served_model.py"
# What a stored model needs to predict; inferring it would cost 14 s a model (mlflow #22880).
REQUIREMENTS = ("numpy", "scipy", "scikit-learn", "pillow", "pandas", "tqdm")
OF_NETWORKS = ("tensorflow", "keras")
# Until it took photos, a model took arrays, and its code says so.
TRIAL = """\
import json, sys, numpy
from stages.tracking import served_model as code
model = code._load_pyfunc(sys.argv[1])
if hasattr(code, "an_input"):
    model.predict(code.an_input())
    signature = code.signature_of(model.classes)
else:
    model.predict({"images": numpy.full((1, 32, 32, 3), 99, numpy.uint8)})
    signature = code.signature_of(len(model._classifier.classes))
print(json.dumps(signature.to_dict()))
"""
# Of a kind of model and a library: the signature, and why it cannot be loaded.
_tried: dict[tuple[str, ...], tuple[dict[str, Any], str]] = {}


def is_stored_model(content: bytes) -> bool:
    """Whether a file is a model as this library stores it."""
    file = BytesIO(content)
    return zipfile.is_zipfile(file) and f"{HEADER}.npy" in zipfile.ZipFile(file).namelist()


def log_model(
    run_id: str,
    path: str,
    files: Mapping[str, bytes],
    revision: Revision,
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
    except store.MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
        return "the server is older than MLflow 3, which keeps such models"
    return ""


def _log_classifier(
    run_id: str,
    name: str,
    content: bytes,
    revision: Revision,
    params: Mapping[str, Any],
    *,
    try_it: bool,
) -> str:
    """Log the very file of a model, and the code that loads it; why not, if it does not."""
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        file = Path(folder) / name
        file.write_bytes(content)
        stored = read_model(file)
        code, md5 = _code_of(revision, Path(folder))
        signature = signature_of(stored.classes)
        if md5:
            told, reason = _tried_out(code, file, (stored.kind, *stored.classes, md5))
            if reason:
                return f"its code does not load it ({reason})"
            signature = ModelSignature.from_dict(told)
        whose = revision.commit if code.is_absolute() else "as it was when this was logged"
        packages = [*REQUIREMENTS, *(OF_NETWORKS if stored.kind != "baseline" else ())]
        versions = {
            each: params.get(param_name(LIBRARIES_FILE, each)) or importlib.metadata.version(each)
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
            signature=signature,
            input_example=an_input() if try_it else None,
            pip_requirements=[f"{each}=={version}" for each, version in versions.items()],
            tags={"code": whose},
        )
    return ""


def _code_of(revision: Revision, folder: Path) -> tuple[Path, str]:
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
    md5 = md5_of(b"".join(files.values()))
    return (folder / LIBRARY if LOADER in files else here), md5


def _tried_out(code: Path, file: Path, about: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The signature that a library gives a model, and why it cannot predict; empty if it can.

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
        if tried.returncode:
            why = (tried.stderr.strip() or f"exit code {tried.returncode}").splitlines()[-1]
            _tried[about] = {}, why[:200]
        else:
            _tried[about] = json.loads(tried.stdout.splitlines()[-1]), ""
    return _tried[about]
