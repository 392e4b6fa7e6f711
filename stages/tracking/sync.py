"""Make MLflow match what DVC has: every entry of every revision has its run, and none has two.

A stage that DVC restores from its cache starts no process, so nobody tells MLflow; a stage of
another person told another MLflow; one that ran while MLflow was away told nobody. Here the entries
of all revisions are held against the runs: what is missing is made or completed from the files, the
runs that an experiment shares with others are tied to its name, and runs whose process was killed
are ended. A second time changes nothing.
"""

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tqdm import tqdm

from stages.data.errors import UserError
from stages.tracking import mirror, store, tags
from stages.tracking.car_or_truck import after_entry
from stages.tracking.outputs import content_of, revisions_with_results
from stages.tracking.store import Run
from stages.workflow.pipeline import LockEntry
from stages.workflow.revisions import Revision

# What MLflow calls it if another process made the same dataset, or removed the run.
COLLISIONS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


@dataclass
class Report:
    """What a sync did.

    Attributes:
        revisions: how many were looked at.
        done: numbers of runs, by what was done with them.
        missing: paths of outputs of the project that are not on this machine, by md5.
    """

    revisions: int
    done: Counter[str] = field(default_factory=Counter)
    missing: dict[str, str] = field(default_factory=dict)


def sync() -> Report:
    """Make the runs match the revisions.

    Two people who sync with one server at the same moment may both make a dataset, or one writes
    to a run that the other removes as a double; whom that hits begins again.

    Raises:
        MlflowException: the store does not answer.
        UserError: Git or DVC cannot tell the revisions.
    """
    try:
        return _sync()
    except store.MlflowException as error:
        if error.error_code not in COLLISIONS:
            raise
        return _sync()


def _sync() -> Report:
    revisions = revisions_with_results()
    known = store.find_runs()
    report = Report(len(revisions))
    complete = runs_by_key(known)
    for revision in tqdm(revisions, desc="sync", unit="revision", disable=None, leave=False):
        _complete_runs(revision, complete, {run.info.run_id for run in known}, report)
    report.done["tied to experiments"] = _tie(revisions, complete)
    report.done["ended, as their process is gone"] = _end_dead(known, complete)
    if report.done["made from files"]:
        _remove_doubles(store.find_runs())
    return report


def sync_revision(revision: Revision) -> dict[str, Run]:
    """Make the runs of one revision; all complete runs by `LockEntry.key`, its own among them."""
    known = store.find_runs()
    complete = runs_by_key(known)
    _complete_runs(revision, complete, {run.info.run_id for run in known}, Report(1))
    return complete


def runs_by_key(runs: list[Run]) -> dict[str, Run]:
    """Complete runs by `LockEntry.key`, from the latest first; of repeated ones the latest."""
    return {run.data.tags[tags.ENTRY]: run for run in reversed(runs) if tags.ENTRY in run.data.tags}


def _complete_runs(
    revision: Revision, complete: dict[str, Run], known: set[str], report: Report
) -> None:
    """Make the runs that a revision lacks, complete those that lack files, pass on what is new."""
    has_news = False
    for entry in revision.lock.values():
        run = complete.get(entry.key)
        if run is None:
            run = mirror.make_run(entry, revision)
        elif _can_be_completed(run, entry, revision):
            mirror.complete_run(run, entry, revision)
            run = store.client().get_run(run.info.run_id)
        if run is not complete.get(entry.key):
            has_news = True
            report.done["completed" if run.info.run_id in known else "made from files"] += 1
        complete[entry.key] = run
        report.missing |= {entry.outs[path]: path for path in mirror.missing_outs(run)}
    for entry in revision.lock.values():
        try:
            after_entry(entry, revision, complete, again=has_news)
        except UserError as error:
            print(f"WARNING: {revision.title}, {entry.stage}: {error}", file=sys.stderr)


def _can_be_completed(run: Run, entry: LockEntry, revision: Revision) -> bool:
    """Whether a file that a run lacks has turned up."""
    missing = mirror.missing_outs(run)
    return any(content_of(revision, path, entry.outs[path]) for path in missing)


def _tie(revisions: list[Revision], complete: dict[str, Run]) -> int:
    """Have the runs of experiments name each of them, in one call a run; how many did not yet."""
    ties: dict[str, dict[str, str]] = defaultdict(dict)
    for revision in revisions:
        tag = tags.membership(revision.name)
        for entry in revision.lock.values() if revision.baseline else ():
            run = complete[entry.key]
            if run.data.tags.get(tag) != revision.baseline:
                ties[run.info.run_id][tag] = revision.baseline
    for run_id, wanted in ties.items():
        store.log(run_id, tags=wanted)
    return len(ties)


def _end_dead(known: list[Run], complete: dict[str, Run]) -> int:
    """End the runs that a process of this machine began and no longer writes; how many."""
    ready = {run.info.run_id for run in complete.values()}
    dead = [
        run.info.run_id
        for run in known
        if run.info.status == "RUNNING"
        and run.info.run_id not in ready
        and tags.PROCESS in run.data.tags
        and tags.writer_is_gone(run.data.tags[tags.PROCESS])
    ]
    for run_id in dead:
        store.client().update_run(run_id, "KILLED")  # when is not known
    return len(dead)


def _remove_doubles(runs: list[Run]) -> None:
    """Of runs that were made from the same files, keep the first.

    Two people who sync with one server at the same time both find that a run is missing and make
    it; the one who is ready later sees both.
    """
    kept: set[str] = set()
    for run in sorted(runs, key=lambda each: (each.info.start_time, each.info.run_id)):
        if tags.ENTRY not in run.data.tags or tags.MADE_FROM not in run.data.tags:
            continue
        if run.data.tags[tags.ENTRY] in kept:
            store.client().delete_run(run.info.run_id)
        kept.add(run.data.tags[tags.ENTRY])
