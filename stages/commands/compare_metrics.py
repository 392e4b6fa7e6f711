"""Compare the metrics of the working tree with those of a Git revision, within a tolerance.

Two machines with the same code and data differ in the last digits of every product, and training
carries that on: a network trained elsewhere is about as different as one with another seed. Counts
must agree exactly; accuracies and other shares within --tolerance; losses within --loss-tolerance.
Exit code 1 if a metric differs by more, or is missing on one side.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stages.commands.tables import EVALUATION
from stages.tracking.declared import flattened, metrics_paths
from stages.workflow.command import run_reporting_mistakes
from stages.workflow.errors import UserError
from stages.workflow.files import read_json
from stages.workflow.repository import file_at, find_commit

EXIT_DIFFERENT = 1
LOSSES = ("log_loss", "brier")
# They hang on few images, and stray more from network to network than an accuracy does.
STRAYING = {"calibration_slope": 0.5, "coverage_at_99": 0.2, "flagged": 30, "mcnemar_p": 1.0}
PAIRED = ("both_right", "only_first_right", "only_second_right", "both_wrong")


def main() -> None:
    """Read the options, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="a commit, branch or tag, as HEAD")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of shares (default: 0.02)")
    parser.add_argument(
        "--loss-tolerance", type=float, default=0.05, help="of losses (default: 0.05)"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(
        lambda: compare(arguments.revision, arguments.tolerance, arguments.loss_tolerance)
    )


def compare(revision: str, tolerance: float, loss_tolerance: float) -> None:
    """Print all metrics of both sides; exit with code 1 if they differ by too much."""
    table = Table(title=f"Metrics here and at {revision}")
    for column in ("metric", "here", revision, "difference", "allowed", ""):
        table.add_column(column, justify="left" if column == "metric" else "right")
    different = 0
    for path in metrics_paths():
        here = flattened(read_json(Path(path)))
        there = flattened(metrics_at(revision, path))
        for name in sorted(here.keys() | there.keys()):
            a, b = here.get(name), there.get(name)
            allowed = tolerance_of(name, a, tolerance, loss_tolerance)
            bad = a is None or b is None or abs(a - b) > allowed
            different += bad
            gap = "–" if a is None or b is None else f"{a - b:+.6g}"
            verdict = "DIFFERENT" if bad else ""
            table.add_row(f"{Path(path).stem}: {name}", str(a), str(b), gap, str(allowed), verdict)
    Console(width=120).print(table)
    if different:
        print(f"{different} metrics differ by more than is allowed", file=sys.stderr)
        sys.exit(EXIT_DIFFERENT)
    print("all metrics agree within the tolerance")


def tolerance_of(name: str, value: float | None, tolerance: float, loss_tolerance: float) -> float:
    """How far two values of a metric may be apart."""
    last = name.rsplit(".", maxsplit=1)[-1]
    if last in STRAYING:
        return STRAYING[last]
    if last in PAIRED:
        return 2 * tolerance * read_json(EVALUATION)["images"]["test"]
    if isinstance(value, int):
        return 0
    return loss_tolerance if last in LOSSES else 2 * tolerance if "robust" in name else tolerance


def metrics_at(revision: str, path: str) -> dict[str, dict[str, float]]:
    """A metrics file as it is in a Git revision.

    Raises:
        UserError: Git does not know the revision, or it has no such file.
    """
    content = file_at(find_commit(revision), path)
    if content is None:
        raise UserError(f"{revision}: has no {path}; name another revision")
    found: dict[str, dict[str, float]] = json.loads(content)
    return found


if __name__ == "__main__":
    main()
