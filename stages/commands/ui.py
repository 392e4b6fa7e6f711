"""Show the runs in the browser, after a sync, so that they are complete.

Serves the project's own database on this machine only; where MLFLOW_TRACKING_URI names a server,
that server has the pages.
"""

import argparse
import os
import sys

from stages.commands.sync import sync_and_tell
from stages.data.errors import UserError
from stages.tracking import environment
from stages.workflow.command import run_reporting_mistakes


def main() -> None:
    """Start MLflow's pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="on 127.0.0.1 (default: 5000)")
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: serve(arguments.port))


def serve(port: int) -> None:
    """Become MLflow's server.

    Raises:
        UserError: the runs are on a server, or sync failed.
    """
    if not environment.store_is_local():
        uri = environment.shown_uri()
        raise UserError(f"the runs are at {uri} (MLFLOW_TRACKING_URI); open its page")
    sync_and_tell()
    print(f"Runs: http://127.0.0.1:{port}  (end with Ctrl-C)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]  # one person looks: no four processes
    command += ["--backend-store-uri", environment.tracking_uri()]
    command += ["--default-artifact-root", environment.artifacts_path().as_uri()]
    # The jobs are for language models; without them the pages are there seconds sooner.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.execv(sys.executable, command)  # noqa: S606  # arguments of our own, and no shell


if __name__ == "__main__":
    main()
