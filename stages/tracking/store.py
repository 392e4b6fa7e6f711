"""The MLflow store: runs and what they hold, through MLflow's documented API.

MLflow, which takes 1.6 seconds, is imported here first, when its environment is set.
"""

import contextlib
import functools
import getpass
import json
import os
import posixpath
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from stages.data.errors import UserError
from stages.tracking import environment, tags
from stages.workflow.pipeline import md5_of

environment.prepare_environment()
import mlflow  # noqa: E402  # it reads its environment when it is imported
from mlflow.entities import (  # noqa: E402  # as mlflow
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.utils.validation import (  # noqa: E402  # as mlflow
    MAX_DATASET_DIGEST_SIZE,
    MAX_DATASET_NAME_SIZE,
    MAX_ENTITY_KEY_LENGTH,
)

Run = mlflow.entities.Run
ModelVersion = mlflow.entities.model_registry.ModelVersion
MlflowException = mlflow.exceptions.MlflowException
MAJOR_VERSION = int(mlflow.__version__.partition(".")[0])
load_text = mlflow.artifacts.load_text
# Of a store on this machine it gives the path of the very files.
download = mlflow.artifacts.download_artifacts

LOCK_TIMEOUT = 120  # seconds
# Whose errors come through MLflow where a client itself reaches the storage of artifacts, as s3://.
OF_STORAGE = ("boto", "azure.", "google.")
# What MLflow calls it if another process made the same dataset, or removed the run.
COLLISIONS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def start_run(name: str, source: str, seen: Mapping[str, str], started: float) -> Run:
    """Start a run with its tags alone.

    Args:
        name: of the run.
        source: the command that it stands for.
        seen: its tags.
        started: seconds since 1970.
    """
    named = {
        tags.USER: _user(),
        tags.SOURCE: source,
        tags.SOURCE_TYPE: "LOCAL",
        tags.SOURCE_COMMIT: seen.get(tags.COMMIT, ""),
        tags.PROCESS: tags.this_process(),
    }
    named = {key(tag): value for tag, value in (named | dict(seen)).items()}
    return client().create_run(experiment_id(), milliseconds(started), named, name)


def _user() -> str:
    """Name of the user; the id of one who has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def watch_system(run_id: str) -> None:
    """Log processor and memory use of this machine to a run until `end_live_run`."""
    mlflow.start_run(run_id=run_id, log_system_metrics=True)


def end_live_run(run_id: str, status: str) -> None:
    """End the run of this process as FINISHED, FAILED or KILLED."""
    if mlflow.active_run():
        mlflow.end_run(status)
    else:  # it was started, but could not be watched
        client().set_terminated(run_id, status)


def find_runs(
    having: Mapping[str, str] | None = None, limit: int = 100_000, *, with_deleted: bool = False
) -> list[Run]:
    """Runs of the experiment that have these values in their tags, the latest first.

    Args:
        having: values by tag.
        limit: at most so many.
        with_deleted: behind them those that a person deleted; what sync deletes are none of these.
    """
    view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
    wanted = " AND ".join(f"tags.`{key(tag)}` = {value!r}" for tag, value in (having or {}).items())
    experiment = experiment_id()  # which tells MLflow of the store
    found = mlflow.search_runs(
        [experiment], wanted, view, limit, ["attributes.start_time DESC"], output_format="list"
    )
    kept = [run for run in found if not (is_deleted(run) and tags.REMOVED in run.data.tags)]
    return sorted(kept, key=is_deleted)


def is_deleted(run: Run) -> bool:
    """Whether a run was deleted; MLflow keeps it until `mlflow gc`."""
    return run.info.lifecycle_stage == LifecycleStage.DELETED


def remove_run(run_id: str) -> None:
    """Delete a run that nothing needs, marked so that nobody takes it for a person's wish."""
    try:
        client().set_tag(run_id, tags.REMOVED, "by sync")
        client().delete_run(run_id)
    except MlflowException as error:  # another sync was sooner
        if error.error_code not in COLLISIONS:
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
    """Add to a run; the tags last.

    Args:
        run_id: the run.
        params: by dotted name.
        metrics: values by name.
        tags: texts by key.
        step: the epoch that the metrics belong to; 0 for the run as a whole.
        model_id: the logged model that the metrics measure, to be shown on its page.
    """
    now = milliseconds(time.time())
    client().log_batch(
        run_id,
        [
            Metric(key(name), float(value), now, step, model_id=model_id)
            for name, value in (metrics or {}).items()
        ],
        [Param(key(name), str(value)) for name, value in (params or {}).items()],
    )
    client().log_batch(
        run_id, tags=[RunTag(key(name), value) for name, value in (tags or {}).items()]
    )


def log_series(run: Run, series: Mapping[str, Mapping[int, float]]) -> None:
    """Log what a run does not have yet of metrics, by name and step."""
    now = milliseconds(time.time())
    missing = []
    for name, values in series.items():
        own = key(name)
        is_new = own not in run.data.metrics
        history = [] if is_new else client().get_metric_history(run.info.run_id, own)
        known = {each.step for each in history}
        missing += [Metric(own, v, now, step) for step, v in values.items() if step not in known]
    client().log_batch(run.info.run_id, missing)


def key(name: str) -> str:
    """What MLflow calls a param, metric or tag: some signs become `_`, what is too long is cut.

    Whoever looks for one in the data of a run looks for this.
    """
    taken = posixpath.normpath(re.sub(r"[^\w\-.:/ ]", "_", name))
    taken = re.sub(r"^[/.]+(?=/)", "_", taken)
    too_long = len(taken) > MAX_ENTITY_KEY_LENGTH
    return f"{taken[:200]}_{md5_of(taken.encode())}" if too_long else taken


def log_artifacts(run_id: str, files: Mapping[str, bytes]) -> None:
    """Store files with a run, each by its path among the run's artifacts."""
    if not files:
        return
    # One call instead of one a file.
    with _in_a_folder(files) as folder, environment.patience():
        client().log_artifacts(run_id, folder)


@contextlib.contextmanager
def _in_a_folder(files: Mapping[str, bytes]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield folder


def log_datasets(run_id: str, datasets: Mapping[str, str]) -> None:
    """Name the datasets that a run read: the md5 that DVC knows, by path."""
    inputs = []
    for path, md5 in datasets.items():
        source = json.dumps({"path": path, "kept_by": "DVC"})
        digest = md5[:MAX_DATASET_DIGEST_SIZE]  # an md5 has 32 characters, that of a folder 36
        dataset = Dataset(path[-MAX_DATASET_NAME_SIZE:], digest, source_type="dvc", source=source)
        context = InputTag("mlflow.data.context", PurePosixPath(path).stem)
        inputs.append(DatasetInput(dataset, [context]))
    if inputs:
        client().log_inputs(run_id, inputs)


def log_files_as_model(run_id: str, name: str, files: Mapping[str, bytes]) -> None:
    """Keep the files of a model whose kind MLflow does not know, as a logged model of a run.

    Args:
        run_id: the run that made it.
        name: of the model.
        files: content of each, by its path.
    """
    model = client().create_logged_model(
        experiment_id(), re.sub(r"[/:.%\"']", "_", name), run_id, model_type="files"
    )
    with _in_a_folder(files) as folder:
        client().log_model_artifacts(model.model_id, folder)
    client().finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client().log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


@contextlib.contextmanager
def speaking_to_mlflow() -> Iterator[None]:
    """For commands: what MLflow fails with becomes one line that says what to do.

    Raises:
        UserError: MLflow or its store failed in the block.
    """
    try:
        yield
    except Exception as error:
        if not (
            isinstance(error, (MlflowException, OSError, ImportError))
            or type(error).__module__.startswith(OF_STORAGE)
        ):
            raise
        what = environment.printable(error)
        raise UserError(
            f"MLflow at {environment.shown_uri()} failed ({what}); start or mend it, or name "
            "another with MLFLOW_TRACKING_URI, and try again"
        ) from error


def exclusive() -> FileLock:
    """A lock among the processes of this project on this machine, for `with`."""
    lock = environment.database_path().with_suffix(".lock")
    return FileLock(lock, timeout=LOCK_TIMEOUT, is_singleton=True)


def milliseconds(seconds: float) -> int:
    """A time as MLflow counts it."""
    return round(seconds * 1000)


@functools.cache
def client() -> mlflow.MlflowClient:
    """MLflow's client of the store; a database is made if it is not there yet.

    Processes that start at once on a new database would trip over each other's migration
    (mlflow #20014), so one goes first.
    """
    uri = environment.tracking_uri()
    if uri.startswith("file:") or (":" not in uri and uri != "databricks"):
        raise UserError(
            f"MLFLOW_TRACKING_URI={environment.shown_uri()}: MLflow keeps no runs in folders any "
            "more; give a database (sqlite:///mlflow.db) or a server (http://…)"
        )
    mlflow.set_tracking_uri(uri)
    try:
        with exclusive() if environment.store_is_database() else contextlib.nullcontext():
            return mlflow.MlflowClient(uri)
    except (OSError, ImportError):
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, alembic's, a driver's
        if re.search("database schema|revision", str(error)):
            shown = environment.shown_uri()
            raise UserError(
                f"{shown}: is not of MLflow {mlflow.__version__}; if an older one made it, "
                f"`mlflow db upgrade '{shown}'` keeps all; else move it away: `make sync` makes "
                "all runs anew from files, registered models not among them"
            ) from error
        raise MlflowException(str(error)) from error


@functools.cache
def experiment_id() -> str:
    """Id of the experiment, which is made if it is not there yet."""
    name = environment.experiment_name()
    known = client().get_experiment_by_name(name)  # the client tells MLflow of the store
    if known and known.lifecycle_stage == LifecycleStage.DELETED:
        number = known.experiment_id
        raise UserError(
            f"experiment {name} was deleted in MLflow; `mlflow experiments restore "
            f"--experiment-id {number}` brings it back, `mlflow gc --experiment-ids {number}` "
            "removes it for good, or name another with MLFLOW_EXPERIMENT_NAME"
        )
    if environment.store_is_database():
        with exclusive():
            # Not where MLflow would put them, below the working directory: that of an experiment
            # in a copy is deleted.
            if client().get_experiment_by_name(name) is None:
                client().create_experiment(name, environment.artifacts_uri())
    found: str = mlflow.set_experiment(name).experiment_id
    return found
