"""The MLflow store: all that is said to MLflow is said here, through its documented API."""

import contextlib
import functools
import getpass
import importlib.metadata
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.data.splits import SPLIT_NAMES, split_path
from stages.models.storage import StoredModel, read_model
from stages.tracking import environment

environment.prepare_environment()
import mlflow  # noqa: E402  # it reads its environment when it is imported
from mlflow.entities import (  # noqa: E402  # as mlflow
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException  # noqa: E402  # as mlflow
from mlflow.models import Model, ModelSignature  # noqa: E402  # as mlflow
from mlflow.types import Schema, TensorSpec  # noqa: E402  # as mlflow

# Other modules take these from here: MLflow must not be imported before its environment is set.
Run = mlflow.entities.Run
ModelVersion = mlflow.entities.model_registry.ModelVersion

MAX_PER_BATCH = 100  # params and tags in a call, by MLflow's REST API
MAX_PER_PAGE = 1000
LOCK_TIMEOUT = 120  # seconds
# What a stored model needs to answer; inferring it would cost 14 s a model (mlflow #22880).
MODEL_REQUIREMENTS = ("numpy", "scipy", "pandas", "scikit-learn", "pydantic", "ruamel.yaml")


def create_run(name: str, tags: Mapping[str, str], started: float | None = None) -> Run:
    """Create a run.

    Args:
        name: what the page of runs calls it.
        tags: its tags.
        started: seconds since 1970; now by default.
    """
    milliseconds = _milliseconds(time.time() if started is None else started)
    named = {"mlflow.user": getpass.getuser(), **tags}
    return _client().create_run(
        _experiment_id(), start_time=milliseconds, tags=named, run_name=name
    )


def watch_system(run_id: str) -> None:
    """Log processor and memory use of this machine to a run until `end_live_run`."""
    _experiment_id()
    mlflow.start_run(run_id=run_id, log_system_metrics=True)


def end_live_run(run_id: str, status: str) -> None:
    """End the run of this process as FINISHED, FAILED or KILLED."""
    if mlflow.active_run():
        mlflow.end_run(status)
    else:  # it was started, but could not be watched
        end_run(run_id, status, time.time())


def end_run(run_id: str, status: str, ended: float | None = None) -> None:
    """End a run; where nobody knows when it ended, it has no time of its end.

    Args:
        run_id: the run.
        status: FINISHED, FAILED or KILLED.
        ended: seconds since 1970.
    """
    if ended is None:
        _client().update_run(run_id, status=status)
    else:
        _client().set_terminated(run_id, status, _milliseconds(ended))


def find_runs(tags: Mapping[str, str], limit: int = MAX_PER_PAGE) -> list[Run]:
    """Runs that have these values in their tags, the latest first."""
    wanted = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = _client().search_runs(
        [_experiment_id()], wanted, order_by=["attributes.start_time DESC"], max_results=limit
    )
    return list(runs)


def all_runs() -> list[Run]:
    """All runs of the experiment, the latest first."""
    runs: list[Run] = []
    page = None
    while page is None or page.token:
        page = _client().search_runs(
            [_experiment_id()],
            max_results=MAX_PER_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=page.token if page else None,
        )
        runs += page
    return runs


def get_run(run_id: str) -> Run:
    """A run by its id.

    Raises:
        MlflowException: the store has none of this id.
    """
    return _client().get_run(run_id)


def find_run(run_id: str) -> Run | None:
    """A run by its id, or None; of any experiment."""
    try:
        return _client().get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def log(
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    step: int = 0,
    model_id: str | None = None,
) -> None:
    """Add to a run.

    Args:
        run_id: the run.
        params: settings by dotted name.
        metrics: values by name.
        tags: texts by key.
        step: the epoch that the metrics belong to; 0 for the run as a whole.
        model_id: the logged model that the metrics measure, to be shown on its page.
    """
    now = _milliseconds(time.time())
    all_params = [Param(key, str(value)) for key, value in (params or {}).items()]
    all_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
    all_metrics = [
        Metric(key, float(value), now, step, model_id=model_id)
        for key, value in (metrics or {}).items()
    ]
    longest = max(len(all_params), len(all_tags), len(all_metrics))
    for start in range(0, longest, MAX_PER_BATCH):
        part = slice(start, start + MAX_PER_BATCH)
        _client().log_batch(run_id, all_metrics[part], all_params[part], all_tags[part])


def log_steps(run: Run, steps: Mapping[int, Mapping[str, float]]) -> None:
    """Log the metrics of all epochs that a run does not have yet.

    Args:
        run: as the store has it at this moment.
        steps: by epoch, metrics by name; the same names in each.
    """
    run_id = run.info.run_id
    names = next(iter(steps.values()), {}).keys()
    known = {
        name: {each.step for each in _client().get_metric_history(run_id, name)}
        for name in names & run.data.metrics.keys()
    }
    now = _milliseconds(time.time())
    missing = [
        Metric(name, float(value), now, step)
        for step, measures in steps.items()
        for name, value in measures.items()
        if step not in known.get(name, ())
    ]
    for start in range(0, len(missing), MAX_PER_PAGE):
        _client().log_batch(run_id, metrics=missing[start : start + MAX_PER_PAGE])


def delete_run(run_id: str) -> None:
    """Put a run into MLflow's bin, from which it can be restored."""
    _client().delete_run(run_id)


def delete_tag(run_id: str, key: str) -> None:
    """Remove a tag of a run."""
    _client().delete_tag(run_id, key)


def log_artifacts(run_id: str, files: Mapping[str, Path]) -> None:
    """Store files with a run.

    Args:
        run_id: the run.
        files: by their path among the run's artifacts.
    """
    if not files:
        return
    with tempfile.TemporaryDirectory() as folder:  # one call instead of one a file
        for name, file in files.items():
            target = Path(folder) / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
        _client().log_artifacts(run_id, folder)


@contextlib.contextmanager
def artifact(run_id: str, path: str) -> Iterator[Path]:
    """A file that is stored with a run, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(_client().download_artifacts(run_id, path, folder))


def log_datasets(run_id: str, deps: Mapping[str, str]) -> None:
    """Name the splits that a stage read as the run's datasets, by the md5 that DVC knows."""
    inputs = []
    for split in SPLIT_NAMES:
        path = str(split_path(split))
        if path in deps:
            source = json.dumps({"path": path, "made_by": "the DVC stage prepare"})
            # MLflow cuts digests to 36 characters; an md5 has 32.
            dataset = Dataset(path, deps[path], source_type="dvc", source=source)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    if inputs:
        _client().log_inputs(run_id, inputs)


def logged_model(run: Run) -> str | None:
    """Id of the model that was logged with a run; None if there is none."""
    outputs = run.outputs.model_outputs if run.outputs else []
    return outputs[0].model_id if outputs else None


def log_model(run_id: str, path: Path, *, try_it: bool) -> None:
    """Log a model that can be served: the very file, and the code that loads it.

    Args:
        run_id: the run that made it.
        path: the model's file.
        try_it: whether to give an example, which MLflow at once has the model answer (a network
            takes seconds for it).
    """
    stored = read_model(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        Model.log(
            artifact_path=None,
            name=stored.kind,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            loader_module="stages.tracking.served_model",
            data_path=str(path),
            code_paths=["stages"],
            signature=_signature(stored),
            input_example=_example() if try_it else None,
            pip_requirements=_requirements(stored),
        )


def _signature(stored: StoredModel) -> ModelSignature:
    images = TensorSpec(np.dtype(np.uint8), (-1, 32, 32, 3), "images")
    answers = TensorSpec(np.dtype(np.float64), (-1, len(stored.classes)))
    return ModelSignature(Schema([images]), Schema([answers]))


def _example() -> dict[str, np.ndarray]:
    path = split_path("validation")
    if not path.exists():
        return {"images": np.zeros((1, 32, 32, 3), np.uint8)}
    return {"images": read_arrays(path)["images"][:1]}


def _requirements(stored: StoredModel) -> list[str]:
    packages = [*MODEL_REQUIREMENTS]
    if stored.kind != "baseline":
        packages += ["tensorflow", "keras"]
    return [f"{package}=={importlib.metadata.version(package)}" for package in packages]


def versions(name: str, md5: str) -> list[ModelVersion]:
    """Versions of a registered model with this content."""
    return [each for each in versions_of_content(md5) if each.name == name]


def versions_of_content(md5: str) -> list[ModelVersion]:
    """Versions of all registered models whose file has this md5."""
    return list(_client().search_model_versions(f"tags.`md5` = '{md5}'"))


def version_by_alias(name: str, alias: str) -> ModelVersion | None:
    """The version of a registered model that has an alias; None if no version or no model has."""
    try:
        return _client().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # Of a model that is there, MLflow calls an alias that nobody has an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def register(name: str, run: Run, model_id: str, tags: Mapping[str, str]) -> ModelVersion:
    """Register a logged model as a new version."""
    try:
        _client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _client().create_model_version(
        name, f"models:/{model_id}", run.info.run_id, dict(tags), model_id=model_id
    )


def describe_version(version: ModelVersion, text: str, tags: Mapping[str, str]) -> None:
    """Set the text on a version's page, and tags."""
    _client().update_model_version(version.name, version.version, text)
    for key, value in tags.items():
        _client().set_model_version_tag(version.name, version.version, key, value)


def give_alias(version: ModelVersion, alias: str) -> None:
    """Give an alias to a version; another version that had it loses it."""
    _client().set_registered_model_alias(version.name, alias, version.version)


@contextlib.contextmanager
def speaking_to_mlflow() -> Iterator[None]:
    """For commands: what MLflow fails with becomes one line that says what to do.

    Raises:
        UserError: MLflow or its store failed in the block.
    """
    try:
        yield
    except (MlflowException, OSError, ImportError, Timeout) as error:
        what = environment.printable(error)
        raise UserError(
            f"MLflow at {environment.shown_uri()} failed ({what}); start or mend it, or name "
            "another with MLFLOW_TRACKING_URI, and try again"
        ) from error


def exclusive() -> FileLock:
    """A lock among the processes of this project on this machine, for `with`."""
    lock = environment.database_path().with_suffix(".lock")
    return FileLock(lock, timeout=LOCK_TIMEOUT, is_singleton=True)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


@functools.cache
def _client() -> mlflow.MlflowClient:
    """MLflow's client of the store; a database is made if it is not there yet.

    Processes that start at once on a new database would trip over each other's migration
    (mlflow #20014), so one goes first.
    """
    uri = environment.tracking_uri()
    mlflow.set_tracking_uri(uri)
    with exclusive() if environment.store_is_database() else contextlib.nullcontext():
        return mlflow.MlflowClient(uri)


@functools.cache
def _experiment_id() -> str:
    """Id of the experiment, which is made if it is not there yet."""
    client = _client()
    name = environment.experiment_name()
    if environment.store_is_database():
        with exclusive():
            # Not where MLflow would put them, below the working directory: that of an experiment
            # in a copy is deleted.
            if client.get_experiment_by_name(name) is None:
                location = environment.artifacts_path().as_uri()
                client.create_experiment(name, artifact_location=location)
    experiment_id: str = mlflow.set_experiment(name).experiment_id
    return experiment_id
