"""Python processes that have MLflow imported already: each is there two seconds sooner.

A server without threads imports it once; each call is a fork of that server, so a process of its
own, with its own environment, working directory and output.
"""

import importlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "stages.tracking.lineage",  # sets the environment of MLflow before that is imported
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.pyfunc",
        "stages.commands.runs",
        "tests.pipeline.warm",
    ]
)


def python(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """What `python` does with these arguments (`-m MODULE …` or `FILE …`) in a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        said = [Path(scratch) / name for name in ("stdout", "stderr")]
        process = SERVER.Process(target=_become, args=(arguments, folder, environment, said))
        process.start()
        process.join()
        stdout, stderr = (file.read_text() for file in said)
    return subprocess.CompletedProcess(arguments, process.exitcode or 0, stdout, stderr)


def _become(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], said: list[Path]
) -> None:
    from stages.tracking import environment as of_tracking

    for descriptor, file in zip((1, 2), said, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    importlib.reload(of_tracking)  # it reads the environment when it is imported
    of_tracking.prepare_environment()
    sys.path.insert(0, str(folder))
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
