"""Print the runs of a revision, or the revisions of a run; without an argument, all revisions.

A revision is a branch, tag, commit, DVC experiment or `workspace`, as the rows of `dvc exp show`.
A run is given by its id in MLflow (32 hex digits).
"""

import argparse
import re

from rich.table import Table

from stages.commands.terminal import console
from stages.data.errors import UserError
from stages.workflow.command import run_reporting_mistakes

MODELS = ("baseline", "cnn", "mobilenet")


def main() -> None:
    """Read the options, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="", help="a revision or the id of a run")
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: print_table(arguments.what))


def print_table(what: str) -> None:
    """Print the table that was asked for.

    Raises:
        UserError: there is no such revision or run, or MLflow does not answer.
    """
    from stages.tracking.store import speaking_to_mlflow

    with speaking_to_mlflow():
        if re.fullmatch("[0-9a-f]{32}", what):
            table = revisions_of_run(what)
        else:
            table = runs_of_revision(what) if what else all_revisions_table()
    console().print(table)


def revisions_of_run(run_id: str) -> Table:
    """A row for each revision whose dvc.lock holds the computation of a run."""
    from stages.tracking import store
    from stages.tracking.mirror import RECORD
    from stages.tracking.revisions import revisions_with

    run = store.find_run(run_id)
    if run is None:
        raise UserError(f"{run_id}: there is no such run; `make ui` shows those that are there")
    stage = run.data.tags.get("stage", "unknown")
    commit = run.data.tags.get("git.commit", "unknown")[:10]
    changes = " with changes" if run.data.tags.get("git.dirty") == "true" else ""
    table = Table(
        title=f"Revisions that hold run {run_id} ({stage}, computed at {commit}{changes})"
    )
    for column in ("kind", "revision", "commit"):
        table.add_column(column)
    for revision in revisions_with(run.data.tags.get(RECORD, "")):
        table.add_row(revision.kind, revision.name, revision.commit[:10])
    if not table.row_count:
        table.caption = "none: its results were not committed, or its branch is not in this clone"
    return table


def runs_of_revision(name: str) -> Table:
    """A row for each stage of a revision: its run and what that measured."""
    from stages.tracking import store
    from stages.tracking.mirror import RECORD
    from stages.tracking.revisions import find_revision

    revision = find_revision(name)
    title = f"Runs of {revision.title}, commit {revision.commit[:10]}"
    table = Table(title=title)
    for column in ("stage", "run", "status", "seconds", "train", "validation", "test"):
        is_text = column in ("stage", "run")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=is_text)
    for record in revision.records.values():
        found = store.find_runs({RECORD: record.key}, limit=1)
        if not found:
            table.add_row(record.stage, "none: `make sync` makes it", *[""] * 5)
            continue
        metrics = found[0].data.metrics
        seconds = metrics.get("duration_seconds")
        accuracies = [
            f"{metrics[f'{split}.accuracy']:.4f}" if f"{split}.accuracy" in metrics else ""
            for split in ("train", "validation", "test")
        ]
        told = "" if seconds is None else f"{seconds:.0f}"
        table.add_row(record.stage, found[0].info.run_id, found[0].info.status, told, *accuracies)
    return table


def all_revisions_table() -> Table:
    """A row for each revision: how many of its computations have runs, and its test accuracies."""
    from stages.tracking import store
    from stages.tracking.mirror import RECORD
    from stages.tracking.revisions import all_revisions

    runs = {run.data.tags.get(RECORD): run for run in reversed(store.all_runs())}
    table = Table(title="Revisions with results, and their runs in MLflow")
    for column in ("kind", "revision", "commit", "runs", *(f"{each}, test" for each in MODELS)):
        table.add_column(column, justify="left" if column in ("kind", "revision") else "right")
    for revision in all_revisions():
        records = revision.records.values()
        # Of the run that made the model: an evaluation may be older than the model beside it.
        makers = {path: each.key for each in records for path in each.outs}
        made = [runs.get(makers.get(f"data/models/{model}.npz")) for model in MODELS]
        accuracies = [run.data.metrics.get("test.accuracy") if run else None for run in made]
        table.add_row(
            revision.kind,
            revision.name,
            revision.commit[:10],
            f"{sum(each.key in runs for each in records)} of {len(records)}",
            *("" if value is None else f"{value:.4f}" for value in accuracies),
        )
    return table


if __name__ == "__main__":
    main()
