"""Where tracking goes: each environment variable that it heeds, named once."""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

# Read now: MLflow sets the variable itself as soon as it is told of a store.
URI_OF_USER = os.environ.get("MLFLOW_TRACKING_URI", "")
# Seconds that a server may take to answer, and that a writer waits for the project's own database.
HTTP_TIMEOUT = 8
# A server that passes a model on to its store answers when that is done.
ARTIFACT_TIMEOUT = os.environ.get("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT") or "120"
DATABASE_TIMEOUT = 20
# Of variables of the environment whose values are not printed.
SECRETS = re.compile("PASSWORD|TOKEN|SECRET|API_?KEY|ACCESS_KEY")


def project_root() -> Path:
    """The project's folder; in `dvc exp run --temp` not the working directory, which is deleted."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def dvc_experiment() -> tuple[str, str]:
    """Name and baseline commit of the DVC experiment that runs this process; else empty."""
    return os.environ.get("DVC_EXP_NAME", ""), os.environ.get("DVC_EXP_BASELINE_REV", "")


def experiment_name() -> str:
    """The experiment in MLflow: MLFLOW_EXPERIMENT_NAME if it is set, else the project's name."""
    if named := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return named
    try:
        settings = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))
        return str(settings["project"]["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return project_root().name


def database_path() -> Path:
    """The project's own database."""
    return project_root() / "mlflow.db"


def own_folder() -> Path:
    """For what only this clone needs to know; DVC keeps it out of Git."""
    return project_root() / ".dvc" / "tmp" / "mirror"


def artifacts_uri() -> str:
    """Where a database that has no server keeps pictures and models of runs."""
    return (project_root() / "mlartifacts").as_uri()


def tracking_uri() -> str:
    """The MLflow store: `MLFLOW_TRACKING_URI` if it is set, else SQLite in the project's folder.

    The path of an SQLite file may be relative: it is one in the project's folder.
    """
    uri = URI_OF_USER or f"sqlite:///{database_path().name}?timeout={DATABASE_TIMEOUT}"
    relative = r"(sqlite(?:\+\w+)?:///(?:file:)?+)(?!/|:memory:|$)"
    return re.sub(f"^{relative}", lambda scheme: f"{scheme[1]}{project_root()}/", uri)


def shown_uri() -> str:
    """The MLflow store as it may be printed: without user name and password."""
    return _without_secrets(tracking_uri())


def printable(text: object) -> str:
    """What a store or MLflow says, as one line of at most 200 characters, without credentials."""
    # Whoever splits such an address wrongly takes a part of the password for the host, and tells.
    if re.search(r"://[^@]*[/?#@].*@", URI_OF_USER):
        return "the address has / or @ before its last @: in a password write %2F and %40"
    line = " ".join(_without_secrets(str(text)).split())
    return line if len(line) <= 200 else f"{line[:90]} … {line[-107:]}"  # causes come last


def _without_secrets(text: str) -> str:
    for name, value in os.environ.items():
        if SECRETS.search(name) and len(value) > 3:
            text = text.replace(value, "…")
    text = re.sub(r"://\S*@", "://", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret|key)=)[^&\s]+", r"\1…", text)


def store_is_database() -> bool:
    """Whether the store is a database that is written directly, without a server in front of it."""
    return tracking_uri().startswith(("sqlite", "postgresql", "mysql", "mssql"))


def prepare_environment() -> None:
    """Set what MLflow reads when it is imported; to be called before that."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.pop("MLFLOW_RUN_ID", None)  # would override which run is written (mlflow #15713)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "5")  # seconds
    # A server that does not answer is left alone for a while, not waited for: the tracker tries
    # again later (see stages.tracking.run). A request that is sent twice would make two runs.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(HTTP_TIMEOUT))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what fails is told once, by us
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Through the server, not from where it keeps them: who reaches the one may not reach the other.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """While pictures, tables and models are sent, give a server the time that these take."""
    usual = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", str(HTTP_TIMEOUT))
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = max(usual, ARTIFACT_TIMEOUT, key=float)
    try:
        yield
    finally:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = usual
