"""What MLflow costs: seconds of each stage, and of a sync of all revisions into an empty store.

    python -m benchmarks.tracking_cost

The stages are those that ran here last (their receipts, importing MLflow not included). The sync is
timed on the revisions of the folder in which it is called, twice: into an empty SQLite database,
and with nothing left to do.
"""

import os
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from stages.tracking.environment import experiment_name
from stages.tracking.receipts import find_receipts


def main() -> None:
    """Print both."""
    Console().print(stages_table())
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        place = (
            "--experiment-name",
            experiment_name(),
            "--artifact-location",
            f"file://{folder}/artifacts",
        )
        run(uri, "mlflow", "experiments", "create", *place)
        for what in ("into an empty store", "with nothing to do"):
            began = time.perf_counter()
            said = run(uri, "stages", "sync")
            print(f"sync {what}: {time.perf_counter() - began:.1f} s ({said})")


def stages_table() -> Table:
    """The latest receipt of each stage: its seconds, and how many of them were MLflow's."""
    table = Table(title="Tracking in the stages that ran here last")
    for column in ("stage", "seconds", "of them MLflow", "per cent"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    latest = {receipt.stage: receipt for receipt in reversed(find_receipts())}
    for receipt in latest.values():
        seconds, of_mlflow = receipt.seconds, receipt.tracking_seconds
        numbers = f"{seconds:.1f}", f"{of_mlflow:.2f}", f"{100 * of_mlflow / seconds:.1f}"
        table.add_row(receipt.stage, *numbers)
    return table


def run(uri: str, *module_and_options: str) -> str:
    """Run a module of Python with a store; what it said."""
    finished = subprocess.run(
        [sys.executable, "-m", *module_and_options],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return finished.stdout.strip()


if __name__ == "__main__":
    main()
