"""The MLflow store: all that is said to MLflow is said here, through its documented API."""

import contextlib
import functools
import importlib.metadata
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from stages.data.splits import SPLIT_NAMES, split_path
from stages.models.storage import StoredModel, read_model
from stages.tracking import environment
from stages.tracking.declared import StageRecord
from stages.workflow.files import read_arrays

environment.prepare_environment()
import mlflow  # noqa: E402  # it reads its environment when it is imported
from mlflow.data.code_dataset_source import CodeDatasetSource  # noqa: E402  # as mlflow
from mlflow.data.meta_dataset import MetaDataset  # noqa: E402  # as mlflow
from mlflow.entities import Metric, Param, RunTag  # noqa: E402  # as mlflow
from mlflow.models import ModelSignature  # noqa: E402  # as mlflow
from mlflow.types import Schema, TensorSpec  # noqa: E402  # as mlflow

MAX_PER_BATCH = 100  # params in a call, by MLflow's REST API
# What a stored model needs to answer; inferring it would cost 14 s a model (mlflow #22880).
MODEL_REQUIREMENTS = ("numpy", "scipy", "pandas", "scikit-learn", "pydantic", "ruamel.yaml")


def start_run(record: StageRecord) -> str:
    """Start a run for a computation of a stage.

    Returns:
        The run's id.
    """
    _open_store()
    tags = {
        "stage": record.stage,
        **environment.identity_tags(),
        **{f"dep.{path}": md5 for path, md5 in record.deps.items()},
    }
    name = " ".join(filter(None, [record.stage, tags.get("dvc.exp_name")]))
    run = mlflow.start_run(run_name=name, tags=tags, log_system_metrics=True, nested=True)
    params = [Param(key, str(value)) for key, value in record.params.items()]
    for start in range(0, len(params), MAX_PER_BATCH):
        _client().log_batch(run.info.run_id, params=params[start : start + MAX_PER_BATCH])
    run_id: str = run.info.run_id
    return run_id


def end_run(run_id: str, status: str) -> None:
    """End a run as FINISHED, FAILED or KILLED."""
    if (active := mlflow.active_run()) and active.info.run_id == run_id:
        mlflow.end_run(status)


def find_run(path: str, md5: str) -> str | None:
    """Id of the latest run that wrote a file with this content, or None."""
    _open_store()
    runs = mlflow.search_runs(
        experiment_names=[environment.experiment_name()],
        filter_string=f"tags.`out.{path}` = '{md5}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return runs[0].info.run_id if runs else None


def log_epoch(run_id: str, epoch: int, measures: Mapping[str, float]) -> None:
    """Log the metrics of an epoch as its step."""
    _log(run_id, [(name, value, epoch) for name, value in measures.items()])


def log_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics of a run as a whole."""
    _log(run_id, [(name, float(value), 0) for name, value in metrics.items()])


def log_epochs_of_table(run_id: str, path: Path) -> None:
    """Log the metrics of all epochs from a table with a column `epoch`; others are passed over."""
    table = pd.read_csv(path)
    if "epoch" not in table:
        return
    names = [name for name in table.columns if name != "epoch"]
    _log(
        run_id,
        [(name, row[name], int(row["epoch"])) for _, row in table.iterrows() for name in names],
    )


def _log(run_id: str, values: list[tuple[str, float, int]]) -> None:
    now = int(time.time() * 1000)
    metrics = [Metric(name, float(value), now, step) for name, value, step in values]
    for start in range(0, len(metrics), MAX_PER_BATCH):
        _client().log_batch(run_id, metrics=metrics[start : start + MAX_PER_BATCH])


def log_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Add tags to a run."""
    _client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def log_artifact(run_id: str, path: Path, folder: str) -> None:
    """Store a file with a run."""
    _client().log_artifact(run_id, str(path), folder)


def log_datasets(run_id: str, deps: Mapping[str, str]) -> None:
    """Name the splits that a stage read as the run's datasets, by the md5 that DVC knows."""
    with _resumed(run_id):
        for split in SPLIT_NAMES:
            path = str(split_path(split))
            if path in deps:
                source = CodeDatasetSource({"path": path, "made_by": "the DVC stage prepare"})
                # MLflow cuts digests to 36 characters; an md5 has 32.
                dataset = MetaDataset(source, name=path, digest=deps[path])  # type: ignore[abstract]  # MLflow's own use
                mlflow.log_input(dataset, context=split)


def log_model(run_id: str, path: Path) -> None:
    """Log a model that can be served: the very file, and the code that loads it."""
    stored = read_model(path)
    with _resumed(run_id):
        mlflow.pyfunc.log_model(
            name=stored.kind,
            loader_module="stages.tracking.served_model",
            data_path=str(path),
            code_paths=["stages"],
            signature=_signature(stored),
            input_example=_example(),
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


def _resumed(run_id: str) -> contextlib.AbstractContextManager[mlflow.ActiveRun]:
    """The run as MLflow's active one, which some calls want."""
    active = mlflow.active_run()
    if active and active.info.run_id == run_id:
        return contextlib.nullcontext(active)
    resumed: mlflow.ActiveRun = mlflow.start_run(run_id, nested=True)
    return resumed


def _client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


@functools.cache
def _open_store() -> None:
    """Point MLflow to the store; make database and experiment if they are not there yet.

    Processes that start at once on a new database would trip over each other's migration
    (mlflow #20014), so one goes first.
    """
    name = environment.experiment_name()
    is_local = environment.store_is_local()
    mlflow.set_tracking_uri(environment.tracking_uri())  # sets MLFLOW_TRACKING_URI, too
    if not is_local:
        mlflow.set_experiment(name)
        return
    database = environment.database_path()
    with FileLock(database.with_suffix(".lock"), timeout=120):
        if _client().get_experiment_by_name(name) is None:
            location = environment.artifacts_path().as_uri()
            _client().create_experiment(name, artifact_location=location)
    mlflow.set_experiment(name)
