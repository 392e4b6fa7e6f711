"""Make MLflow match what DVC has, for all branches, tags, experiments and the workspace.

It works on any project of DVC: `--project DIR`. Without MLFLOW_TRACKING_URI, its runs go to
DIR/mlflow.db and DIR/mlartifacts, which Git should ignore there.

Runs that are missing are made from the files: those of stages that DVC took from its cache, that
were computed elsewhere, or that ran while MLflow was away. A revision gets a summary run, with all
its settings and headline metrics, and runs of processes that were killed are ended. Runs that a
person deleted stay so. Run again, it changes nothing.
"""

import argparse
from typing import TYPE_CHECKING

from stages.commands.project import add_project, enter_project

if TYPE_CHECKING:
    from stages.tracking.sync import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name the project and the commits."""
    add_project(parser)
    parser.add_argument(
        "-A",
        "--all-commits",
        action="store_true",
        help="also commits that have no name and changed a dvc.lock",
    )


def run(options: argparse.Namespace) -> None:
    """Sync, and print what was done.

    Raises:
        UserError: MLflow does not answer, or Git or DVC cannot tell the revisions.
    """
    enter_project(options)
    sync_and_tell(all_commits=options.all_commits, is_ours=options.project is None)


def sync_and_tell(*, all_commits: bool = False, is_ours: bool = True) -> "Report":
    """Sync as `stages.tracking.sync.sync` does, print what was done, and return it.

    Raises:
        UserError: as `run`.
    """
    from stages.tracking.store import speaking_to_mlflow
    from stages.tracking.sync import sync

    with speaking_to_mlflow():
        report = sync(all_commits=all_commits, is_ours=is_ours)
    told = "; ".join(f"{count} {what}" for what, count in report.done.items() if count)
    print(f"sync: {report.revisions} revisions: {f'runs {told}' if told else 'nothing to do'}")
    if report.missing:
        paths = ", ".join(sorted(set(report.missing.values())))
        print(
            f"sync: {len(report.missing)} files are not on this machine ({paths}); their runs are "
            "there without them; `dvc fetch --all-branches --all-tags` (for experiments "
            "`dvc exp pull`), then sync again"
        )
    if report.deleted:
        print(
            f"sync: {len(report.deleted)} runs stay away, as somebody deleted them in MLflow "
            f"({', '.join(sorted(report.deleted))}); `mlflow runs restore --run-id ID` brings one "
            "back, and after `mlflow gc` they are made anew"
        )
    return report
