"""Where a result comes from: from a file's md5 to the run, the revision, the params, code and data.

Two witnesses are heard, and what either does not know is said: the dvc.lock of every revision, and
the runs in MLflow, whose tags hold the md5 of all that went in and came out.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stages.data.errors import UserError
from stages.data.files import file_hash
from stages.tracking import store
from stages.tracking.champion import ALIAS
from stages.tracking.declared import StageRecord
from stages.tracking.environment import shown_uri
from stages.tracking.mirror import EDITED, RECORD, file_in_workspace
from stages.tracking.revisions import (
    Revision,
    all_revisions,
    dvc_cache,
    find_revision,
    history,
    md5_of,
)
from stages.tracking.store import Run
from stages.workflow.repository import file_at

MOST_SHOWN = 5  # revisions in a line
SHORT = 10  # hex digits of an id that is only to be recognized


@dataclass
class Node:
    """A line of the tree, and what hangs below it.

    Attributes:
        text: the line.
        children: what it is made from.
        is_gap: whether it says that a link is missing or in doubt.
    """

    text: str
    children: list["Node"] = field(default_factory=list)
    is_gap: bool = False


@dataclass(frozen=True)
class Computation:
    """What the two witnesses say of one computation.

    Attributes:
        record: as a dvc.lock has it; if none has, as the tags of its run tell.
        run: its latest run; None if MLflow knows none.
    """

    record: StageRecord
    run: Run | None


class Lineage:
    """All that the revisions and the runs know of how results were made."""

    def __init__(self) -> None:
        """Read both."""
        self._revisions = all_revisions()
        self._runs = store.all_runs()
        self._computations = self._joined()
        self._told: set[str] = set()

    def of(self, what: str) -> Node:
        """The tree of a file, an md5, a run or a revision.

        Args:
            what: path of an output, md5 of one, id of a run, or name of a revision.

        Raises:
            UserError: nothing here goes by that name.
        """
        for run in self._runs:
            if run.info.run_id == what:
                return self._made_by(Computation(self._record_of(run), run))
        output = self._output(what)
        return self._file(*output) if output else self._revision(find_revision(what))

    def _joined(self) -> list[Computation]:
        """Computations of the revisions, the latest first, then those that only runs know."""
        run_by_record = {run.data.tags.get(RECORD): run for run in reversed(self._runs)}
        records = {
            record.key: record
            for revision in reversed(self._revisions)
            for record in revision.records.values()
        }
        known = [Computation(each, run_by_record.get(key)) for key, each in records.items()]
        others = [run for run in self._runs if run.data.tags.get(RECORD) not in records]
        return known + [Computation(_record_of_tags(run), run) for run in others]

    def _record_of(self, run: Run) -> StageRecord:
        key = run.data.tags.get(RECORD)
        known = (each.record for each in self._computations if each.record.key == key)
        return next(known, _record_of_tags(run))

    def _maker(self, path: str, md5: str) -> Computation | None:
        makers = (each for each in self._computations if each.record.outs.get(path) == md5)
        return next(makers, None)

    def _output(self, what: str) -> tuple[str, str] | None:
        """Path and md5 of an output, by either; of a path, as the file is now."""
        for computation in self._computations:
            for path, md5 in computation.record.outs.items():
                if md5 == what:
                    return path, md5
                if path == what:
                    file = Path(path)
                    return path, (file_hash(file, "md5") if file.is_file() else md5)
        return None

    def _revision(self, revision: Revision) -> Node:
        used = {path for record in revision.records.values() for path in record.deps}
        run_by_key = {each.record.key: each.run for each in self._computations}
        last = [
            Computation(record, run_by_key.get(record.key))
            for record in revision.records.values()
            if not used & record.outs.keys()
        ]
        title = f"{revision.title}, commit {revision.commit[:SHORT]}"
        return Node(title, [self._made_by(each) for each in last])

    def _file(self, path: str, md5: str) -> Node:
        children = [self._whereabouts(path, md5), self._origin(path, md5)]
        return Node(f"{path}  md5 {md5}", [*children, *self._measured(path, md5)])

    def _origin(self, path: str, md5: str) -> Node:
        maker = self._maker(path, md5)
        if maker is None:
            gap = "made by: unknown; no revision here and no run names this content"
            return Node(gap, is_gap=True)
        return self._made_by(maker)

    def _whereabouts(self, path: str, md5: str) -> Node:
        if file_in_workspace(path, md5):
            return Node("file: in the workspace")
        if (dvc_cache() / md5[:2] / md5[2:]).exists():
            return Node("file: in DVC's cache")
        return Node("file: not on this machine; try `dvc fetch` or `dvc exp pull`", is_gap=True)

    def _made_by(self, computation: Computation) -> Node:
        record, run = computation.record, computation.run
        if record.key in self._told:
            return Node(f"made by stage {record.stage}, as above")
        self._told.add(record.key)
        holders = self._holders(record)
        lines = [_run_line(run), _revision_line(holders), *_code_lines(run, record, holders)]
        if record.params:
            values = ", ".join(f"{key}={value}" for key, value in record.params.items())
            lines.append(Node(f"params: {values}"))
        data = [
            Node(f"{path}  md5 {md5}", [self._origin(path, md5)])
            for path, md5 in record.deps.items()
            if not path.endswith(".py")
        ]
        return Node(f"made by stage {record.stage}", [*lines, *data])

    def _holders(self, record: StageRecord) -> list[Revision]:
        """Revisions whose dvc.lock has the computation, the latest first."""
        holders = [each for each in reversed(self._revisions) if record in each.records.values()]
        return holders or [each for each in history() if record in each.records.values()][:1]

    def _measured(self, path: str, md5: str) -> list[Node]:
        nodes = []
        runs = [run for run in self._runs if run.data.tags.get(f"dep.{path}") == md5]
        if runs:
            accuracy = runs[0].data.metrics.get(f"{Path(path).stem}.accuracy")
            told = "" if accuracy is None else f": test accuracy {accuracy:.4f}"
            more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
            nodes.append(Node(f"measured by run {runs[0].info.run_id}{more}{told}"))
        for version in store.versions_of_content(md5):
            champion = store.version_by_alias(version.name, ALIAS)
            is_champion = champion is not None and champion.version == version.version
            alias = f" ({ALIAS})" if is_champion else ""
            gate = version.tags.get("gate", "")
            nodes.append(Node(f"registered: {version.name} {version.version}{alias}; {gate}"))
        return nodes


def _record_of_tags(run: Run) -> StageRecord:
    deps, outs = (
        {
            tag.removeprefix(prefix): value
            for tag, value in run.data.tags.items()
            if tag.startswith(prefix)
        }
        for prefix in ("dep.", "out.")
    )
    return StageRecord(run.data.tags.get("stage", "unknown"), run.data.params, deps, outs)


def _run_line(run: Run | None) -> Node:
    if run is None:
        return Node(f"run: none at {shown_uri()}; `make sync` makes it", is_gap=True)
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    seconds = run.data.metrics.get("duration_seconds")
    told = [f"run: {run.info.run_id}"]
    if seconds is None:
        told.append("made from files, so when and how long it ran is not known")
    else:
        told.append(f"started {started:%Y-%m-%d %H:%M} UTC, {seconds:.0f} s")
    if RECORD not in run.data.tags:
        told.append(f"{run.info.status}, not complete")
    return Node("; ".join(told), is_gap=RECORD not in run.data.tags)


def _revision_line(holders: list[Revision]) -> Node:
    if not holders:
        return Node("revision: none here holds it in its dvc.lock", is_gap=True)
    shown = ", ".join(each.title for each in holders[:MOST_SHOWN])
    more = f" and {len(holders) - MOST_SHOWN} more" if len(holders) > MOST_SHOWN else ""
    return Node(f"revision: {shown}{more}")


def _code_lines(run: Run | None, record: StageRecord, holders: list[Revision]) -> list[Node]:
    """Whether the code that ran is in a commit: that of a revision, or what was checked out."""
    tags = run.data.tags if run else {}
    lines = []
    if EDITED in tags:
        text = f"edited while it ran, so DVC's record is not what ran: {tags[EDITED]}"
        lines.append(Node(text, is_gap=True))
    code = {path: md5 for path, md5 in record.deps.items() if path.endswith(".py")}
    commits = [each.commit for each in holders] + [tags.get("git.commit", "")]
    other: list[str] = []
    for commit in filter(None, dict.fromkeys(commits)):
        try:
            other = [path for path, md5 in code.items() if md5_of(file_at(commit, path)) != md5]
        except UserError as error:
            lines.append(Node(f"code: {error}", is_gap=True))
            continue
        if not other:
            return [*lines, Node(f"code: {len(code)} files, as in commit {commit[:SHORT]}")]
    differing = f"; not as in commit {commit[:SHORT]}: {', '.join(other)}" if other else ""
    return [
        *lines,
        Node(f"code: {len(code)} files, in no commit that is known{differing}", is_gap=True),
    ]
