"""Say which stages dvc.lock is out of date for, and why; exit code 1 if there is one.

The results in Git belong to the code and the settings in Git only if the pipeline ran after their
last change and its dvc.lock was committed. This needs no data, no DVC cache and no network.
Exit code 2: dvc.lock, dvc.yaml or params.yaml cannot be read, as after a merge with conflicts.
"""

import argparse
import sys

from stages.tracking.declared import LOCK_FILE
from stages.tracking.kept_files import read_in_workspace, reader_at
from stages.workflow.command import run_reporting_mistakes
from stages.workflow.staleness import Kind, StaleStage, stale_stages

EXIT_STALE = 1
TOLD_CHANGES = 3  # in a line


def main() -> None:
    """Read the options, check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "revision", nargs="?", help="a branch, tag, commit or experiment (default: working tree)"
    )
    parser.add_argument(
        "--warn", action="store_true", help="exit with code 0 even if a stage is out of date"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: check(arguments.revision, may_be_stale=arguments.warn))


def check(revision: str | None, *, may_be_stale: bool) -> None:
    """Print a line for each stage that is out of date; exit with code 1 if there is one.

    Raises:
        UserError: a file cannot be read, or there is no such revision.
    """
    read = reader_at(revision) if revision else read_in_workspace
    where = f" at {revision}" if revision else ""
    if read(str(LOCK_FILE)) is None:
        lines, is_run_needed = [f"{LOCK_FILE} is missing{where}"], True
    else:
        stale = stale_stages(read)
        lines, is_run_needed = [told(each) for each in stale], any(each.needs_run for each in stale)
    if not lines:
        print(f"{LOCK_FILE} belongs to the code and the settings{where}")
        return
    for line in lines:
        print(f"{'WARNING' if may_be_stale else 'ERROR'}: {line}", file=sys.stderr)
    if is_run_needed:
        print(f"`make repro` runs all of it; then commit {LOCK_FILE} and metrics/", file=sys.stderr)
    if not may_be_stale:
        sys.exit(EXIT_STALE)


def told(stale: StaleStage) -> str:
    """A stage, why it is out of date and what to do, in a line."""
    name = stale.stage
    if not stale.changes:
        return f"{name} comes after {' and '.join(stale.after)}; run `dvc repro {name}`"
    reasons = ", ".join(change.told for change in stale.changes[:TOLD_CHANGES])
    if (more := len(stale.changes) - TOLD_CHANGES) > 0:
        reasons += f" and {more} more"
    if stale.changes[0].kind is Kind.LEFT_OVER:
        todo = f"delete its entry from {LOCK_FILE}"
    elif stale.needs_run:
        todo = f"run `dvc repro {name}`"
    else:  # DVC does not run a stage for that
        todo = f"run `dvc commit --force {name}` and commit {LOCK_FILE}"
    return f"{name} is out of date: {reasons}; {todo}"


if __name__ == "__main__":
    main()
