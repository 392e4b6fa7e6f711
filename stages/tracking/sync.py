"""Make MLflow match what DVC has: every entry of every revision has its run, and none has two.

A stage that DVC restores from its cache starts no process, so nobody tells MLflow; a stage of
another person told another MLflow; one that ran while MLflow was away told nobody. Here the entries
of all revisions are held against the runs: what is missing is made or completed from the files, the
runs that an experiment shares with others are tied to its name, and runs whose process was killed
are ended. A second time changes nothing.
"""

import dataclasses
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from stages.tracking import store
from stages.tracking.declared import StageRecord
from stages.tracking.environment import membership_tag, writer_is_gone
from stages.tracking.evaluation import METRICS, spread_evaluation
from stages.tracking.mirror import MISSING, MODELS, RECORD, Snapshot, complete_run, make_run
from stages.tracking.revisions import Revision, all_revisions
from stages.tracking.store import Run


@dataclass
class Report:
    """What a sync did, in numbers of runs.

    Attributes:
        revisions: how many revisions were looked at.
        made: runs that were made from files.
        completed: runs that lacked something and got it.
        tied: runs that were tied to experiments.
        ended: runs whose process is gone, marked as killed.
        missing: outputs of the project that are not on this machine, by md5.
    """

    revisions: int = 0
    made: int = 0
    completed: int = 0
    tied: int = 0
    ended: int = 0
    missing: dict[str, str] = field(default_factory=dict)


def sync() -> Report:
    """Make the runs match the revisions.

    Raises:
        MlflowException: the store does not answer.
        UserError: Git or DVC cannot tell the revisions.
    """
    revisions = all_revisions()
    work = _Sync(store.all_runs())
    with tempfile.TemporaryDirectory() as folder:
        for revision in tqdm(revisions, desc="sync", unit="revision", disable=None, leave=False):
            work.complete_runs_of(revision, Path(folder))
            work.note_ties_of(revision)
    work.tie()
    work.end_dead_runs()
    if work.report.made:
        _remove_doubles(store.all_runs())
    work.report.revisions = len(revisions)
    return work.report


class _Sync:
    """The state of a sync: which computations have a complete run, and what was done so far."""

    def __init__(self, known: list[Run]) -> None:
        """Begin with the runs that are there, the latest first."""
        self.report = Report()
        self._known = known
        # Where a computation was repeated it has several runs; the latest counts.
        self._complete = {
            run.data.tags[RECORD]: run for run in reversed(known) if RECORD in run.data.tags
        }
        self._ties: dict[str, dict[str, str]] = defaultdict(dict)

    def complete_runs_of(self, revision: Revision, folder: Path) -> None:
        """Make the runs that a revision lacks, complete those that lack files."""
        snapshot = dataclasses.replace(revision.snapshot(folder), runs=self._complete)
        has_new_model = False
        # Evaluations last: they add to the runs of the models.
        for record in sorted(revision.records.values(), key=_is_evaluation):
            announce = spread_evaluation if _is_evaluation(record) else None
            run = self._complete.get(record.key)
            if run is None:
                run = make_run(record, snapshot, announce)
                self._count(run)
                has_new_model |= _is_training(record)  # which an older evaluation has measured
            elif _can_be_completed(run, record, snapshot):
                complete_run(run, record, snapshot, announce=announce)
                run = store.get_run(run.info.run_id)
                self._count(run)
                has_new_model |= _is_training(record)
            elif announce and has_new_model:
                announce(record, snapshot)
            self._complete[record.key] = run
            self.report.missing |= {record.outs[path]: path for path in _missing(run)}

    def note_ties_of(self, revision: Revision) -> None:
        """Note the runs of an experiment that do not name it yet."""
        if not revision.baseline:
            return
        tag = membership_tag(revision.name)
        for record in revision.records.values():
            run = self._complete[record.key]
            if run.data.tags.get(tag) != revision.baseline:
                self._ties[run.info.run_id][tag] = revision.baseline

    def tie(self) -> None:
        """Tie the runs that were noted to their experiments, in one call a run."""
        for run_id, tags in self._ties.items():
            store.log(run_id, tags=tags)
        self.report.tied = len(self._ties)

    def end_dead_runs(self) -> None:
        """End the runs that a process of this machine began and no longer writes."""
        complete = {run.info.run_id for run in self._complete.values()}
        for run in self._known:
            process = run.data.tags.get("process")
            is_open = run.info.status == "RUNNING" and run.info.run_id not in complete
            if is_open and process and writer_is_gone(process):
                store.end_run(run.info.run_id, "KILLED")
                self.report.ended += 1

    def _count(self, run: Run) -> None:
        if run.info.run_id in {each.info.run_id for each in self._known}:
            self.report.completed += 1
        else:
            self.report.made += 1


def _is_training(record: StageRecord) -> bool:
    return any(Path(path).parent == MODELS for path in record.outs)


def _is_evaluation(record: StageRecord) -> bool:
    return METRICS in record.outs


def _missing(run: Run) -> list[str]:
    """Paths of the outputs that a run should show and does not."""
    return [path for path in run.data.tags.get(MISSING, "").split(", ") if path]


def _can_be_completed(run: Run, record: StageRecord, snapshot: Snapshot) -> bool:
    """Whether a file that a run lacks has turned up."""
    return any(snapshot.find_file(path, record.outs[path]) for path in _missing(run))


def _remove_doubles(runs: list[Run]) -> None:
    """Of runs that were made from the same files, keep the first.

    Two people who sync with one server at the same time both find that a run is missing and make
    it; the one who is ready later sees both.
    """
    kept: set[str] = set()
    for run in sorted(runs, key=lambda each: (each.info.start_time, each.info.run_id)):
        if RECORD not in run.data.tags or run.data.tags.get("made_from") != "files":
            continue
        if run.data.tags[RECORD] in kept:
            store.delete_run(run.info.run_id)
        kept.add(run.data.tags[RECORD])
