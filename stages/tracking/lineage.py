"""Where a result comes from: from a file's md5 to the run, the revision, the params, code and data.

Two witnesses are heard, and what either does not know is said: the dvc.lock of every revision, and
the runs in MLflow, whose tags hold the md5 of all that went in and came out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stages.tracking import store
from stages.tracking.champion import ALIAS
from stages.tracking.declared import StageRecord
from stages.tracking.environment import shown_uri
from stages.tracking.mirror import COMPUTATION, EDITED, RECORD, file_in_workspace
from stages.tracking.revisions import (
    Revision,
    all_revisions,
    dvc_cache,
    file_at,
    find_revision,
    history,
    md5_of,
)
from stages.tracking.store import Run
from stages.workflow.errors import UserError

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


class Lineage:
    """All that the revisions and the runs know of how results were made."""

    def __init__(self) -> None:
        """Read both."""
        self._revisions = all_revisions()
        self._runs = store.all_runs()
        self._told: set[str] = set()

    def of(self, what: str) -> list[Node]:
        """Trees of a file, an md5, a run or a revision.

        Args:
            what: path of an output, md5 of one, id of a run, or name of a revision.

        Raises:
            UserError: nothing here goes by that name.
        """
        run = next((each for each in self._runs if each.info.run_id == what), None)
        if run is not None:
            return [self._computation(self._record_of(run), run)]
        path, md5 = self._output(what)
        if md5:
            return [self._file(path, md5, self._maker(path, md5))]
        return [self._whole_revision(find_revision(what))]

    def _output(self, what: str) -> tuple[str, str]:
        """Path and md5 of an output; empty if it is none."""
        for record in self._records():
            for path, md5 in record.outs.items():
                if md5 == what:
                    return path, md5
                if path == what:
                    file = Path(path)
                    return path, (md5_of(file.read_bytes()) if file.is_file() else md5)
        return "", ""

    def _records(self) -> Iterator[StageRecord]:
        """Computations, those of the latest revisions first, then those that only runs know."""
        for revision in reversed(self._revisions):
            yield from revision.records.values()
        for run in self._runs:
            yield self._record_of(run)

    def _record_of(self, run: Run) -> StageRecord:
        """The computation of a run: as a dvc.lock has it, else as the run's tags tell."""
        key = run.data.tags.get(RECORD)
        for revision in reversed(self._revisions):
            for record in revision.records.values():
                if record.key == key:
                    return record
        deps, outs = (
            {
                tag.removeprefix(prefix): value
                for tag, value in run.data.tags.items()
                if tag.startswith(prefix)
            }
            for prefix in ("dep.", "out.")
        )
        return StageRecord(run.data.tags.get("stage", "unknown"), run.data.params, deps, outs)

    def _maker(self, path: str, md5: str) -> StageRecord | None:
        return next((each for each in self._records() if each.outs.get(path) == md5), None)

    def _run_of(self, record: StageRecord) -> Run | None:
        for run in self._runs:
            tags = run.data.tags
            if tags.get(RECORD) == record.key or (
                RECORD not in tags and COMPUTATION in tags and self._record_of(run) == record
            ):
                return run
        return None

    def _whole_revision(self, revision: Revision) -> Node:
        used = {path for record in revision.records.values() for path in record.deps}
        last = [each for each in revision.records.values() if not used & each.outs.keys()]
        commit = revision.commit[:SHORT]
        return Node(
            f"{revision.title}, commit {commit}",
            [self._computation(record, self._run_of(record)) for record in last],
        )

    def _file(self, path: str, md5: str, maker: StageRecord | None) -> Node:
        node = Node(f"{path}  md5 {md5}", [self._whereabouts(path, md5)])
        if maker is None:
            gap = "made by: unknown; no revision here and no run names this content"
            node.children.append(Node(gap, is_gap=True))
            return node
        node.children.append(self._computation(maker, self._run_of(maker)))
        node.children += self._measured(path, md5)
        return node

    def _whereabouts(self, path: str, md5: str) -> Node:
        if file_in_workspace(path, md5):
            return Node("file: in the workspace")
        if (dvc_cache() / md5[:2] / md5[2:]).exists():
            return Node("file: in DVC's cache")
        return Node("file: not on this machine; try `dvc fetch` or `dvc exp pull`", is_gap=True)

    def _computation(self, record: StageRecord, run: Run | None) -> Node:
        node = Node(f"made by stage {record.stage}")
        if record.key in self._told:
            node.text += ", as above"
            return node
        self._told.add(record.key)
        node.children = [_run_line(run), self._revision_line(record)]
        if run is not None:
            node.children += _origin_lines(run, record)
        if record.params:
            values = ", ".join(f"{key}={value}" for key, value in record.params.items())
            node.children.append(Node(f"params: {values}"))
        for path, md5 in record.deps.items():
            if not path.endswith(".py"):
                maker = self._maker(path, md5)
                child = Node(f"{path}  md5 {md5}")
                child.children = (
                    [self._computation(maker, self._run_of(maker))]
                    if maker
                    else [Node("made by: unknown; no revision and no run names it", is_gap=True)]
                )
                node.children.append(child)
        return node

    def _revision_line(self, record: StageRecord) -> Node:
        holders = [each for each in self._revisions if record in each.records.values()]
        if not holders:
            holders = [each for each in history() if record in each.records.values()][:1]
        if not holders:
            return Node("revision: none here holds it in its dvc.lock", is_gap=True)
        shown = ", ".join(each.title for each in reversed(holders[-5:]))
        more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
        return Node(f"revision: {shown}{more}")

    def _measured(self, path: str, md5: str) -> list[Node]:
        nodes = []
        for run in self._runs:
            if run.data.tags.get(f"dep.{path}") == md5:
                accuracy = run.data.metrics.get(f"{Path(path).stem}.accuracy")
                told = "" if accuracy is None else f": test accuracy {accuracy:.4f}"
                nodes.append(Node(f"measured by run {run.info.run_id}{told}"))
        for version in store.versions_of_content(md5):
            champion = store.version_by_alias(version.name, ALIAS)
            is_champion = champion is not None and champion.version == version.version
            alias = f" ({ALIAS})" if is_champion else ""
            gate = version.tags.get("gate", "")
            nodes.append(Node(f"registered: {version.name} {version.version}{alias}; {gate}"))
        return nodes


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


def _origin_lines(run: Run, record: StageRecord) -> list[Node]:
    """The commit on which it was computed, and whether its code is that of the commit."""
    tags = run.data.tags
    lines = []
    if EDITED in tags:
        text = f"edited while it ran, so DVC's record is not what ran: {tags[EDITED]}"
        lines.append(Node(text, is_gap=True))
    commit = tags.get("git.commit")
    if commit is None:
        return [*lines, Node("code: the commit is not known", is_gap=True)]
    code = {path: md5 for path, md5 in record.deps.items() if path.endswith(".py")}
    try:
        contents = {path: file_at(commit, path) for path in code}
    except UserError as error:
        return [*lines, Node(f"code: {error}", is_gap=True)]
    other = [path for path, content in contents.items() if md5_of(content or b"") != code[path]]
    if other:
        text = f"code: {len(code)} files; not as in commit {commit[:SHORT]}: {', '.join(other)}"
        return [*lines, Node(text, is_gap=True)]
    return [*lines, Node(f"code: {len(code)} files, as in commit {commit[:SHORT]}")]
