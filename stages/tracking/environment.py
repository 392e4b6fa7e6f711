"""Where tracking goes and under whose name: each environment variable that it heeds, named once."""

import os
from pathlib import Path

import git

from stages.tracking.declared import LOCK_FILE, output_paths

EXPERIMENT = "car-or-truck"


def project_root() -> Path:
    """The project's folder; in `dvc exp run --temp` not the working directory, which is deleted."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def tracking_uri() -> str:
    """The MLflow store: `MLFLOW_TRACKING_URI` if it is set, else SQLite in the project's folder."""
    # Writers queue up for the database instead of failing at once: 60 s before an error.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database_path()}?timeout=60"


def store_is_local() -> bool:
    """Whether the store is the project's own database."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def database_path() -> Path:
    """The project's own database."""
    return project_root() / "mlflow.db"


def artifacts_path() -> Path:
    """Pictures and models of runs in the project's own database."""
    return project_root() / "mlartifacts"


def logs_path() -> Path:
    """Log files: of experiments, which may run side by side, in a folder each."""
    return project_root() / "logs" / os.environ.get("DVC_EXP_NAME", "")


def experiment_name() -> str:
    """The MLflow experiment: `MLFLOW_EXPERIMENT_NAME` if it is set."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def identity_tags() -> dict[str, str]:
    """Tags that say which revision and which DVC experiment a run belongs to.

    `git.dirty` leaves out what the pipeline itself writes: DVC deletes the outputs of a stage
    before it runs and rewrites dvc.lock after.
    """
    tags = {
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp_baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    try:
        repository = git.Repo(search_parent_directories=True)
        changed = {item.a_path for item in repository.head.commit.diff(None)}
        written = output_paths() | {str(LOCK_FILE)}
        tags["git.commit"] = repository.head.commit.hexsha
        tags["git.dirty"] = str(bool(changed - written)).lower()
    except (git.InvalidGitRepositoryError, ValueError):  # no repository, or no commit yet
        tags["git.dirty"] = "true"
    return {key: value for key, value in tags.items() if value}


def prepare_environment() -> None:
    """Settings that MLflow reads when it is imported; to be called before that."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.pop("MLFLOW_RUN_ID", None)  # would override which run is written (mlflow #15713)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "5")  # seconds
    # A server that is away is given up after seconds, not after MLflow's minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
