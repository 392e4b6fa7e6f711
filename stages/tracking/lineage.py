"""Where a result comes from: from a file's md5 to the run, the revision, the params, code and data.

Two witnesses are heard, and what either does not know is said: the dvc.lock of every revision, and
the runs in MLflow, whose tags hold the md5 of all that went in and came out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stages.data.errors import UserError
from stages.tracking import registry, store, tags
from stages.tracking.environment import shown_uri
from stages.tracking.outputs import (
    cached_files,
    holders_of,
    revision_with_results,
    revisions_with_results,
)
from stages.tracking.store import Run
from stages.tracking.sync import runs_by_key
from stages.workflow.pipeline import LockEntry
from stages.workflow.revisions import SHORT, Revision, workspace

MOST_SHOWN = 5  # revisions in a line


@dataclass
class Node:
    """A line of the tree, and what hangs below it.

    Attributes:
        text: the line.
        children: what it is made from.
        is_gap: whether it says that a link is missing or uncertain.
    """

    text: str
    children: list["Node"] = field(default_factory=list)
    is_gap: bool = False


class Lineage:
    """All that the revisions and the runs know of how results were made."""

    def __init__(self) -> None:
        """Read both."""
        self._revisions = revisions_with_results()
        self._runs = store.find_runs()
        self._run_of = runs_by_key(self._runs)
        # Entries of the revisions, the latest first, then those that only runs know.
        self._entries = {
            entry.key: entry for each in reversed(self._revisions) for entry in each.lock.values()
        }
        for run in self._runs:
            if run.data.tags.get(tags.ENTRY) not in self._entries:
                self._entries.setdefault(_key(run), _entry_of_tags(run))
                self._run_of.setdefault(_key(run), run)
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
                return self._made_by(_key(run), run)
        for entry in self._entries.values():
            for path, md5 in entry.outs.items():
                if md5 == what:
                    return self._file(path, md5)
                if what == path or what.startswith(f"{path}/"):  # as it is now
                    return self._file(path, workspace().md5(path) or md5)
        return self._revision(revision_with_results(what))

    def _revision(self, revision: Revision) -> Node:
        entries = revision.lock.values()
        used = {path for entry in entries for path in entry.deps}
        last = [self._made_by(each.key) for each in entries if not used & each.outs.keys()]
        return Node(f"{revision.title}, commit {revision.commit[:SHORT]}", last)

    def _file(self, path: str, md5: str) -> Node:
        children = [_whereabouts(path, md5), self._origin(path, md5), *self._measured(path, md5)]
        return Node(f"{path}  md5 {md5}", children)

    def _origin(self, path: str, md5: str) -> Node:
        for key, entry in self._entries.items():
            if entry.outs.get(path) == md5:
                return self._made_by(key)
        gap = "made by: unknown; no revision here and no run names this content"
        return Node(gap, is_gap=True)

    def _made_by(self, key: str, run: Run | None = None) -> Node:
        entry, run = self._entries[key], run or self._run_of.get(key)
        if key in self._told:
            return Node(f"made by stage {entry.stage}, as above")
        self._told.add(key)
        holders = holders_of(key, self._revisions)
        lines = [_run_line(run), _revision_line(holders), *_code_lines(run, entry, holders)]
        if entry.params:
            values = ", ".join(f"{name}={value}" for name, value in entry.params.items())
            lines.append(Node(f"params: {values}"))
        data = [
            Node(f"{path}  md5 {md5}", [self._origin(path, md5)])
            for path, md5 in entry.data.items()
        ]
        return Node(f"made by stage {entry.stage}", [*lines, *data])

    def _measured(self, path: str, md5: str) -> Iterator[Node]:
        metric = f"{Path(path).stem}.accuracy"
        accuracies = [
            (run.info.run_id, run.data.metrics[metric])
            for run in self._runs
            if run.data.tags.get(f"{tags.DEP}{path}") == md5 and metric in run.data.metrics
        ]
        if accuracies:
            run_id, accuracy = accuracies[0]
            more = f" and {len(accuracies) - 1} more" if len(accuracies) > 1 else ""
            yield Node(f"measured by run {run_id}{more}: test accuracy {accuracy:.4f}")
        for version in registry.versions_of_content(md5):
            champion = registry.champion_of(version.name)
            is_champion = champion is not None and champion.version == version.version
            alias = f" ({registry.CHAMPION})" if is_champion else ""
            gate = version.tags.get("gate", "")
            yield Node(f"registered: {version.name} {version.version}{alias}; {gate}")


def _key(run: Run) -> str:
    """What a computation goes by here: its `LockEntry.key`, or the id of a run that broke off."""
    key: str = run.data.tags.get(tags.ENTRY, run.info.run_id)
    return key


def _entry_of_tags(run: Run) -> LockEntry:
    deps, outs = (
        {k.removeprefix(prefix): v for k, v in run.data.tags.items() if k.startswith(prefix)}
        for prefix in (tags.DEP, tags.OUT)
    )
    return LockEntry(run.data.tags.get(tags.STAGE, "unknown"), run.data.params, deps, outs)


def _whereabouts(path: str, md5: str) -> Node:
    if workspace().md5(path) == md5:
        return Node("file: in the workspace")
    if cached_files(path, md5):
        return Node("file: in DVC's cache")
    return Node("file: not on this machine; try `dvc fetch` or `dvc exp pull`", is_gap=True)


def _run_line(run: Run | None) -> Node:
    if run is None:
        return Node(f"run: none at {shown_uri()}; `make sync` makes it", is_gap=True)
    seconds = run.data.metrics.get("duration_seconds")
    told = [f"run: {run.info.run_id}"]
    if seconds is None:
        told.append("made from files, so when and how long it ran is not known")
    else:
        started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        told.append(f"started {started:%Y-%m-%d %H:%M} UTC, {seconds:.0f} s")
    is_complete = tags.ENTRY in run.data.tags
    if not is_complete:
        told.append(f"{run.info.status}, not complete")
    return Node("; ".join(told), is_gap=not is_complete)


def _revision_line(holders: list[Revision]) -> Node:
    if not holders:
        return Node("revision: none here holds it in its dvc.lock", is_gap=True)
    shown = ", ".join(each.title for each in holders[:MOST_SHOWN])
    more = f" and {len(holders) - MOST_SHOWN} more" if len(holders) > MOST_SHOWN else ""
    return Node(f"revision: {shown}{more}")


def _code_lines(run: Run | None, entry: LockEntry, holders: list[Revision]) -> Iterator[Node]:
    """Whether the code that ran is in a commit: that of a revision, or what was checked out."""
    seen = run.data.tags if run else {}
    if tags.EDITED in seen:
        text = f"edited while it ran, so DVC's record is not what ran: {seen[tags.EDITED]}"
        yield Node(text, is_gap=True)
    what, differing = f"code: {len(entry.code)} files", ""
    commits = [*(each.commit for each in holders), seen.get(tags.COMMIT, "")]
    for commit in filter(None, dict.fromkeys(commits)):
        then = Revision(commit[:SHORT], "commit", commit)
        try:
            other = [path for path, md5 in entry.code.items() if then.md5(path) != md5]
        except UserError as error:
            yield Node(f"code: {error}", is_gap=True)
            continue
        if not other:
            yield Node(f"{what}, as in commit {then.name}")
            return
        differing = f"; not as in commit {then.name}: {', '.join(other)}"
    yield Node(f"{what}, in no commit that is known{differing}", is_gap=True)
