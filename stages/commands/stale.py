"""Say which stages dvc.lock is out of date for, and why; exit code 1 if there is one.

The results in Git belong to the code and the params in Git only if the pipeline ran after their
last change and its dvc.lock was committed. This needs no data, no DVC cache and no network.
Stale rows of metrics/seeds.csv are a warning: they are of no stage.
Exit code 2: dvc.lock, dvc.yaml or params.yaml cannot be read, as after a merge with conflicts.
"""

import argparse
import sys

from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.staleness import StaleStage, stale_stages

EXIT_STALE = 1
SHOWN_CHANGES = 3  # in a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "revision",
        nargs="?",
        default="workspace",
        help="a branch, tag, commit or experiment (default: workspace)",
    )
    parser.add_argument(
        "--warn", action="store_true", help="exit with code 0 even if a stage is out of date"
    )


def run(options: argparse.Namespace) -> None:
    """Print a line for each stage that is out of date; exit with code 1 if there is one.

    Raises:
        UserError: a file cannot be read, or there is no such revision.
    """
    from stages.results.seeds import SEEDS, stale_seeds, trainings_in
    from stages.workflow.revisions import find_revision

    revision = find_revision(options.revision)
    if told := stale_seeds(trainings_in(revision.read(SEEDS) or b""), revision.lock):
        print(f"WARNING: {told}", file=sys.stderr)
    where = "" if revision.is_workspace else f" {revision.place}"
    stale = stale_stages(revision)
    lines = [_line(each) for each in stale] if revision.lock else [f"{LOCK_FILE} is missing{where}"]
    if not lines:
        print(f"{LOCK_FILE} belongs to the code and the params{where}")
        return
    for line in lines:
        print(f"{'WARNING' if options.warn else 'ERROR'}: {line}", file=sys.stderr)
    if any(each.needs_run for each in stale):
        todo = f"`make repro`{where} runs all of it; then commit {LOCK_FILE} and metrics/"
        print(todo, file=sys.stderr)
    if not options.warn:
        raise SystemExit(EXIT_STALE)


def _line(stale: StaleStage) -> str:
    """A stage, why it is out of date and what to do."""
    name = stale.stage
    if not stale.changes:
        return f"{name} comes after {' and '.join(stale.after)}; run `dvc repro {name}`"
    reasons = ", ".join(change.told for change in stale.changes[:SHOWN_CHANGES])
    if (more := len(stale.changes) - SHOWN_CHANGES) > 0:
        reasons += f" and {more} more"
    if stale.needs_run:
        todo = f"run `dvc repro {name}`"
    elif stale.changes[0].what:  # DVC does not run a stage for that
        todo = f"run `dvc commit --force {name}` and commit {LOCK_FILE}"
    else:
        todo = f"delete its entry from {LOCK_FILE}"
    return f"{name} is out of date: {reasons}; {todo}"
