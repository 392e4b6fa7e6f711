"""Print the runs of a revision, or the revisions of a run; without an argument, all revisions.

A revision is a branch, tag, commit, DVC experiment or `workspace`, as the rows of `dvc exp show`.
A run is given by its id in MLflow (32 hex digits).
"""

import argparse
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stages.commands.project import add_project, enter_project
from stages.data.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

MOST_METRICS, MOST_HEADLINES = 3, 6  # shown of a run, and of a revision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name what is looked for, and the project."""
    add_project(parser)
    parser.add_argument("what", nargs="?", default="", help="a revision or the id of a run")


def run(options: argparse.Namespace) -> None:
    """Print the table that was asked for.

    Raises:
        UserError: there is no such revision or run, or MLflow does not answer.
    """
    from stages.commands.terminal import console
    from stages.tracking.store import speaking_to_mlflow

    enter_project(options)
    with speaking_to_mlflow():
        if re.fullmatch("[0-9a-f]{32}", options.what):
            table = revisions_of_run(options.what)
        else:
            table = runs_of_revision(options.what) if options.what else all_revisions()
    console().print(table)


def revisions_of_run(run_id: str) -> "Table":
    """A row for each revision whose dvc.lock holds the computation of a run."""
    from stages.tracking import store, tags
    from stages.tracking.outputs import holders_of, revisions_with_results
    from stages.workflow.revisions import SHORT

    try:
        seen = store.client().get_run(run_id).data.tags
    except store.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        what = "there is no such run; `make ui` shows those that are there"
        raise UserError(f"{run_id}: {what}") from None
    changes = " with changes" if seen.get(tags.DIRTY) == "true" else ""
    where = f"computed at {seen.get(tags.COMMIT, 'unknown')[:SHORT]}{changes}"
    title = f"Revisions that hold run {run_id} ({seen.get(tags.STAGE, 'unknown')}, {where})"
    table = _table(title, "kind", "revision", "commit")
    for revision in holders_of(seen.get(tags.ENTRY, ""), revisions_with_results()):
        table.add_row(revision.kind, revision.name, revision.commit[:SHORT])
    if not table.row_count:
        table.caption = "none: its results were not committed, or its branch is not in this clone"
    return table


def runs_of_revision(name: str) -> "Table":
    """A row for each stage of a revision: its run and what that measured."""
    from stages.tracking import notes, store
    from stages.tracking.outputs import revision_with_results
    from stages.tracking.sync import runs_by_key
    from stages.workflow.revisions import SHORT

    revision = revision_with_results(name)
    runs = runs_by_key(store.find_runs())
    title = f"Runs of {revision.title}, commit {revision.commit[:SHORT]}"
    table = _table(title, "stage", "run", "status", numbers=("seconds", "metrics"))
    for stage, entry in revision.lock.items():
        if found := runs.get(entry.key):
            metrics = dict(found.data.metrics)
            seconds = metrics.pop("duration_seconds", None)
            metrics.pop("tracking_seconds", None)
            shown = list(notes.sorted_metrics(metrics).items())[:MOST_METRICS]
            told = "\n".join(f"{metric} {value:.4f}" for metric, value in shown)
            time = "" if seconds is None else f"{seconds:.0f}"
            table.add_row(stage, found.info.run_id, found.info.status, time, told)
        else:
            table.add_row(stage, "none: `make sync` makes it")
    return table


def all_revisions() -> "Table":
    """A row for each revision: how many of its computations have runs, and headline metrics."""
    from stages.tracking import store, tags
    from stages.tracking.outputs import revisions_with_results
    from stages.tracking.summary import key_of
    from stages.tracking.sync import runs_by_key
    from stages.workflow.revisions import SHORT

    known = store.find_runs()
    runs = runs_by_key(known)
    summaries = {run.data.tags.get(tags.SUMMARY, ""): run.data.metrics for run in known}
    revisions = revisions_with_results()
    measured = [summaries.get(key_of(each), {}) for each in revisions]
    names = dict.fromkeys(name for each in reversed(measured) for name in each)
    headlines = list(names)[:MOST_HEADLINES]
    title = "Revisions with results, and their runs in MLflow"
    table = _table(title, "kind", "revision", "commit", numbers=("runs", *headlines))
    for revision, metrics in zip(revisions, measured, strict=True):
        entries = revision.lock.values()
        table.add_row(
            *(revision.kind, revision.name, revision.commit[:SHORT]),
            f"{sum(each.key in runs for each in entries)} of {len(entries)}",
            *(f"{metrics[name]:.4f}" if name in metrics else "" for name in headlines),
        )
    return table


def _table(title: str, *texts: str, numbers: Iterable[str] = ()) -> "Table":
    from rich.table import Table

    table = Table(title=title)
    for column in texts:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right")
    return table
