"""Where tracking goes and under whose name: each environment variable that it heeds, named once."""

import functools
import os
import re
import socket
import textwrap
from pathlib import Path

import psutil

from stages.data.errors import UserError
from stages.tracking.declared import LOCK_FILE, output_paths
from stages.workflow.repository import repository

EXPERIMENT = "car-or-truck"
# Seconds that a server may take to answer, and that a writer waits for the project's own database.
HTTP_TIMEOUT = 8
DATABASE_TIMEOUT = 20


def project_root() -> Path:
    """The project's folder; in `dvc exp run --temp` not the working directory, which is deleted."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def tracking_uri() -> str:
    """The MLflow store: `MLFLOW_TRACKING_URI` if it is set, else SQLite in the project's folder."""
    return _uri_of_user() or f"sqlite:///{database_path()}?timeout={DATABASE_TIMEOUT}"


def shown_uri() -> str:
    """The MLflow store as it may be printed: without user name and password."""
    return printable(tracking_uri())


def printable(text: object) -> str:
    """What a store or MLflow says, as one line of at most 200 characters, without credentials."""
    without = re.sub(r"//[^/@\s]*@", "//", str(text))
    return textwrap.shorten(without, 200, placeholder=" …")


def store_is_local() -> bool:
    """Whether the store is the project's own database."""
    return not _uri_of_user()


def store_is_database() -> bool:
    """Whether the store is a database that is written directly, without a server in front of it."""
    return tracking_uri().startswith(("sqlite", "postgresql", "mysql", "mssql"))


@functools.cache  # MLflow sets the variable itself as soon as it is told of a store
def _uri_of_user() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def database_path() -> Path:
    """The project's own database."""
    return project_root() / "mlflow.db"


def artifacts_path() -> Path:
    """Pictures and models of runs in a database that has no server."""
    return project_root() / "mlartifacts"


def logs_path() -> Path:
    """Log files: of experiments, which may run side by side, in a folder each."""
    return project_root() / "logs" / os.environ.get("DVC_EXP_NAME", "")


def receipts_path() -> Path:
    """Receipts of finished computations, by content (see `stages.tracking.receipts`)."""
    return project_root() / "logs" / "receipts"


def experiment_name() -> str:
    """The MLflow experiment: `MLFLOW_EXPERIMENT_NAME` if it is set."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def identity_tags() -> dict[str, str]:
    """Tags that say which revision and which DVC experiment a run belongs to.

    `git.dirty` leaves out what the pipeline itself writes: DVC deletes the outputs of a stage
    before it runs and rewrites dvc.lock after.
    """
    tags = experiment_tags(
        os.environ.get("DVC_EXP_NAME", ""), os.environ.get("DVC_EXP_BASELINE_REV", "")
    )
    try:
        commit = repository().head.commit
        changed = {item.a_path for item in commit.diff(None)}
        written = output_paths() | {str(LOCK_FILE)}
        tags["git.commit"] = commit.hexsha
        tags["git.dirty"] = str(bool(changed - written)).lower()
    except (UserError, ValueError):  # no repository, or no commit yet
        tags["git.dirty"] = "true"
    return tags


def experiment_tags(name: str, baseline: str) -> dict[str, str]:
    """Tags of a computation that a DVC experiment caused.

    Args:
        name: of the experiment; empty where there is none.
        baseline: the commit that it started from.
    """
    if not name:
        return {}
    return {
        "dvc.exp_name": name,
        "dvc.exp_baseline": baseline,
        membership_tag(name): baseline,
    }


def membership_tag(name: str) -> str:
    """Key of the tag of every run that an experiment holds, whoever computed it first.

    One tag an experiment: two people who add theirs at the same time do not overwrite each other's.
    """
    return "dvc.exp." + re.sub(r"[^/\w.\- :]", "_", name)  # what MLflow allows in a key


def process_tag() -> str:
    """This process, as host, process id and start: tells whether a run still has its writer."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def writer_is_gone(process: str) -> bool:
    """Whether the process of a `process_tag` ran on this machine and is no more."""
    host, pid, start = process.split()
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - int(start)) > 1
    except psutil.NoSuchProcess:
        return True


def prepare_environment() -> None:
    """Settings that MLflow reads when it is imported; to be called before that."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.pop("MLFLOW_RUN_ID", None)  # would override which run is written (mlflow #15713)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "5")  # seconds
    # A server that does not answer is left alone for a while, not waited for: the tracker tries
    # again later (see stages.tracking.run). A request that is sent twice would make two runs.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(HTTP_TIMEOUT))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what fails is told once, by us
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
