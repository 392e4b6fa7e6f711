"""Show the runs in the browser, after a sync, so that they are complete.

Serves the project's own database on this machine only; where MLFLOW_TRACKING_URI names a server,
that server has the pages.
"""

import argparse
import os
import sys

from stages.commands import sync
from stages.data.errors import UserError
from stages.tracking import environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name the port."""
    parser.add_argument("--port", type=int, default=5000, help="on 127.0.0.1 (default: 5000)")


def run(options: argparse.Namespace) -> None:
    """Become MLflow's server.

    Raises:
        UserError: the runs are on a server, or sync failed.
    """
    if environment.URI_OF_USER:
        uri = environment.shown_uri()
        raise UserError(f"the runs are at {uri} (MLFLOW_TRACKING_URI); open its page")
    sync.run(options)
    print(f"Runs: http://127.0.0.1:{options.port}  (end with Ctrl-C)", flush=True)
    arguments = (
        *("--host", "127.0.0.1", "--port", str(options.port)),
        *("--workers", "1"),  # one person looks: no four processes
        *("--backend-store-uri", environment.tracking_uri()),
        *("--default-artifact-root", environment.artifacts_uri()),
    )
    # The jobs are for language models; without them the pages are there seconds sooner.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = [sys.executable, "-m", "mlflow", "server", *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # arguments of our own, and no shell
