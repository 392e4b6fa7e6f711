"""Make MLflow match what DVC has: every entry of every revision has its run, and none has two.

A stage that DVC restores from its cache starts no process, so nobody tells MLflow; a stage of
another person told another MLflow; one that ran while MLflow was away told nobody. Here the entries
of all revisions are held against the runs: what is missing is made or completed from the files, a
revision gets its summary run, and runs whose process was killed are ended. A second time changes
nothing.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from stages.data.errors import UserError
from stages.tracking import mirror, store, tags, views
from stages.tracking.car_or_truck import after_entry
from stages.tracking.outputs import content_of, revisions_with_results
from stages.tracking.store import Run
from stages.tracking.summary import complete_summary, key_of, this_clone
from stages.workflow.revisions import Revision

RETRIES = 4  # after collisions with another sync


@dataclass
class Report:
    """What a sync did.

    Attributes:
        revisions: how many were looked at.
        known: ids of the runs that were there before.
        done: numbers of runs, by what was done with them.
        missing: paths of outputs of the project that are not on this machine, by md5.
        warned: what was told of revisions that cannot be read.
        deleted: ids of the runs that are not made anew, as a person deleted them.
        models: ids of the runs that made the models of the workspace.
        registered: names of registered models that came from such runs.
    """

    revisions: int
    known: set[str]
    done: Counter[str] = field(default_factory=Counter)
    missing: dict[str, str] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    models: list[str] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)


def sync(*, all_commits: bool = False, is_ours: bool = True) -> Report:
    """Make the runs match the revisions.

    Two people who sync with one server at the same moment may both make a dataset, or one writes
    to a run that the other removes as a double; whom that hits begins again.

    Args:
        all_commits: whether to look at every commit with results; else at branches, tags,
            experiments and the workspace.
        is_ours: whether it is this project, which tells tests of models to the models' runs and has
            a view of its models.

    Raises:
        MlflowException: the store does not answer.
        UserError: Git or DVC cannot tell the revisions.
    """
    for _ in range(RETRIES):
        try:
            return _sync(all_commits=all_commits, is_ours=is_ours)
        except store.MlflowException as error:
            if error.error_code not in store.COLLISIONS:
                raise
    return _sync(all_commits=all_commits, is_ours=is_ours)


def _sync(*, all_commits: bool, is_ours: bool) -> Report:
    revisions = revisions_with_results(all_commits=all_commits)
    known = store.find_runs()
    report = Report(len(revisions), {run.info.run_id for run in known})
    complete = runs_by_key(known)
    # What an experiment shares with its branch is the branch's, and its run is named so.
    in_turn = sorted(revisions, key=lambda each: bool(each.baseline))
    for revision in tqdm(in_turn, desc="sync", unit="revision", disable=None, leave=False):
        with _told_of(revision, report):
            _complete_runs(revision, complete, report, is_ours=is_ours)
    summaries = _renew_summaries(revisions, known, complete, report)
    _end_dead(known, complete, report)
    if report.done["made from files"] or report.done["summaries made"]:
        _remove_doubles(store.find_runs())
    report.models = [
        run.info.run_id
        for revision in revisions
        if revision.is_workspace
        for run in filter(None, map(complete.get, (e.key for e in revision.lock.values())))
        if mirror.logged_model(run) and not store.is_deleted(run)
    ]
    made = {run.info.run_id for run in complete.values()}
    report.registered = [
        model.name
        for model in store.client().search_registered_models()
        if any(version.run_id in made for version in model.latest_versions)
    ]
    views.save(report.models if is_ours else None, summaries, is_ours=is_ours)
    return report


def sync_revision(revision: Revision) -> dict[str, Run]:
    """Make the runs of one revision; all complete runs by `LockEntry.key`, its own among them."""
    complete = runs_by_key(store.find_runs())
    _complete_runs(revision, complete, Report(1, set()))
    return complete


def runs_by_key(runs: list[Run]) -> dict[str, Run]:
    """Complete runs by `LockEntry.key`, from the latest first; of repeated ones the latest."""
    return {run.data.tags[tags.ENTRY]: run for run in reversed(runs) if tags.ENTRY in run.data.tags}


def _complete_runs(
    revision: Revision, complete: dict[str, Run], report: Report, *, is_ours: bool = True
) -> None:
    """Make the runs that a revision lacks, complete those that lack files, pass on what is new."""
    has_news = False
    for entry in revision.lock.values():
        run = complete.get(entry.key) or mirror.make_run(entry, revision)
        if store.is_deleted(run):
            complete[entry.key] = run
            report.deleted.add(run.info.run_id)
            continue
        # What is no out was written by an earlier version: several of them as one.
        if any(
            path not in entry.outs or content_of(revision, path, entry.outs[path])
            for path in mirror.missing_outs(run)
        ):
            mirror.complete_run(run, entry, revision)
            run = store.client().get_run(run.info.run_id)
        if run is not complete.get(entry.key):
            has_news = True
            report.done["completed" if run.info.run_id in report.known else "made from files"] += 1
        complete[entry.key] = run
        report.missing |= {entry.outs[path]: path for path in mirror.missing_outs(run)}
    for entry in revision.lock.values() if is_ours else ():
        with _told_of(revision, report):
            after_entry(entry, revision, complete, again=has_news)


def _renew_summaries(
    revisions: list[Revision], known: list[Run], complete: dict[str, Run], report: Report
) -> list[Run]:
    """Make the summary runs that revisions lack, and remove those of revisions that are no more.

    Removed are those of this clone alone: others have branches and experiments of their own.
    """
    there = {run.data.tags[tags.SUMMARY]: run for run in known if tags.SUMMARY in run.data.tags}
    current = {}
    for revision in tqdm(revisions, desc="sync", unit="summary", disable=None, leave=False):
        with _told_of(revision, report):
            key = key_of(revision)
            current[key] = complete_summary(revision, complete, there.get(key))
            if store.is_deleted(current[key]):
                report.deleted.add(current[key].info.run_id)
            elif current[key] is not there.get(key):
                report.done["summaries linked" if key in there else "summaries made"] += 1
    past = [
        run
        for key, run in there.items()
        if key not in current
        and run.data.tags.get(tags.CLONE) == this_clone()
        and run.data.tags.get(tags.KIND) != "commit"  # which does not change
    ]
    for run in past:
        store.remove_run(run.info.run_id)
    report.done["summaries of the past removed"] = len(past)
    return [run for run in current.values() if not store.is_deleted(run)]


@contextlib.contextmanager
def _told_of(revision: Revision, report: Report) -> Iterator[None]:
    """Go on after what a file of a revision is wrong with, and tell it once."""
    try:
        yield
    except UserError as error:
        told = f"WARNING: {revision.title}: {error}"
        if told not in report.warned:
            print(told, file=sys.stderr)
        report.warned.add(told)


def _end_dead(known: list[Run], complete: dict[str, Run], report: Report) -> None:
    """End the runs that a process of this machine began and no longer writes.

    What was being made from files is made anew, so that such a run is deleted: also one that this
    process began, before another writer came in its way.
    """
    ready = {run.info.run_id for run in complete.values()}
    here = tags.this_process()
    for run in known:
        writer = run.data.tags.get(tags.PROCESS, "")
        if run.info.status != "RUNNING" or run.info.run_id in ready or not writer:
            continue
        told = tags.STAGE in run.data.tags and tags.MADE_FROM not in run.data.tags
        if told and tags.writer_is_gone(writer):
            store.client().update_run(run.info.run_id, "KILLED")  # when is not known
            report.done["ended, as their process is gone"] += 1
        elif not told and (writer == here or tags.writer_is_gone(writer)):
            store.remove_run(run.info.run_id)
            report.done["half-made removed"] += 1


def _remove_doubles(runs: list[Run]) -> None:
    """Of runs that were made from the same files, and of equal summaries, keep the first.

    Two people who sync with one server at the same time both find that a run is missing and make
    it; the one who is ready later sees both.
    """
    kept: set[str] = set()
    for run in sorted(runs, key=lambda each: (each.info.start_time, each.info.run_id)):
        seen = run.data.tags
        key = seen.get(tags.ENTRY) if tags.MADE_FROM in seen else seen.get(tags.SUMMARY)
        if key in kept:
            store.remove_run(run.info.run_id)
        if key:
            kept.add(key)
