"""Where a result comes from: from a file's md5 to the run, the revision, the params, code and data.

Two witnesses are heard, and what either does not know is said: the dvc.lock of every revision, and
the runs in MLflow, which hold the md5 of all that went in and came out.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from stages.data.errors import UserError
from stages.tracking import notes, registry, store, tags
from stages.tracking.environment import shown_uri
from stages.tracking.outputs import (
    cached_file,
    holders_of,
    revision_with_results,
    revisions_with_results,
)
from stages.tracking.store import Run
from stages.tracking.sync import runs_by_key
from stages.tracking.wanted_model import CHAMPION
from stages.workflow.pipeline import LockEntry, md5_of_json
from stages.workflow.revisions import SHORT, Revision, at_commit, workspace

MOST_SHOWN = 5  # revisions in a line
NO_CODE = md5_of_json({})


class Lineage:
    """All that the revisions and the runs know of how results were made."""

    def __init__(self) -> None:
        """Read both."""
        self._revisions = revisions_with_results()
        self._runs = [run for run in store.find_runs() if tags.STAGE in run.data.tags]
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

    def of(self, what: str) -> Tree:
        """The tree of a file, an md5, a run or a revision; links that are missing are red.

        Args:
            what: path of an output, md5 of one, id of a run, or name of a revision.

        Raises:
            UserError: nothing here goes by that name.
        """
        for run in self._runs:
            if run.info.run_id == what:
                return self._made_by(_key(run), run)
        named = os.path.relpath(what or ".")  # of `./data` and absolute paths
        for entry in self._entries.values():
            for path, md5 in entry.outs.items():
                if md5 == what:
                    return self._file(path, md5)
                if named == path or named.startswith(f"{path}/"):  # as it is now
                    return self._file(path, workspace().md5(path) or md5)
        return self._revision(revision_with_results(what))

    def _revision(self, revision: Revision) -> Tree:
        entries = revision.lock.values()
        used = {path for entry in entries for path in entry.deps}
        last = [self._made_by(each.key) for each in entries if not used & each.outs.keys()]
        return _tree(f"{revision.title}, commit {revision.commit[:SHORT]}", last)

    def _file(self, path: str, md5: str) -> Tree:
        children = [_whereabouts(path, md5), self._origin(path, md5), *self._measured(path, md5)]
        return _tree(f"{path}  md5 {md5}", children)

    def _origin(self, path: str, md5: str) -> Tree:
        wanted = store.key(path), md5  # what only a run knows has its path as MLflow takes it
        for key, entry in self._entries.items():
            if wanted in ((store.key(out), made) for out, made in entry.outs.items()):
                return self._made_by(key)
        for revision in reversed(self._revisions):
            if revision.added_md5(path) == md5:
                return Tree(f"added by {path}.dvc, as in {revision.title}")
            if not revision.is_workspace and revision.md5(path) == md5:
                return Tree(f"kept by Git, as in {revision.title}")
        return _gap("made by: unknown; no revision here and no run names this content")

    def _made_by(self, key: str, run: Run | None = None) -> Tree:
        entry, run = self._entries[key], run or self._run_of.get(key)
        if key in self._told:
            return Tree(f"made by stage {entry.stage}, as above")
        self._told.add(key)
        holders = holders_of(key, self._revisions)
        lines = [_run_line(run), _revision_line(holders), *_code_lines(run, entry, holders)]
        if entry.params:
            values = ", ".join(f"{name}={value}" for name, value in entry.params.items())
            lines.append(Tree(f"params: {values}"))
        data = [
            _tree(f"{path}  md5 {md5}", [self._origin(path, md5)])
            for path, md5 in entry.data.items()
        ]
        return _tree(f"made by stage {entry.stage}", [*lines, *data])

    def _measured(self, path: str, md5: str) -> Iterator[Tree]:
        read = store.key(f"{tags.DEP}{path}")
        readers = [run for run in self._runs if run.data.tags.get(read) == md5]
        # A measure of several models has the name of each before it.
        named = store.key(f"{Path(path).stem}.")
        measured = [
            (run, name)
            for run in readers
            if (own := {k: v for k, v in run.data.metrics.items() if k.startswith(named)})
            for name in list(notes.sorted_metrics(own))[:1]
        ]
        for run, name in measured[:1]:
            more = f" and {len(measured) - 1} more" if len(measured) > 1 else ""
            value = run.data.metrics[name]
            yield Tree(f"measured by run {run.info.run_id}{more}: {name} {value:.4f}")
        for version in registry.versions_of_content(md5):
            champion = registry.champion_of(version.name)
            is_champion = champion is not None and champion.version == version.version
            alias = f" ({CHAMPION})" if is_champion else ""
            verdict = version.tags.get(registry.VERDICT, "no verdict")
            yield Tree(f"registered: {version.name} {version.version}{alias}; {verdict}")


def _tree(text: str, children: list[Tree]) -> Tree:
    tree = Tree(text, highlight=True)
    tree.children += children
    return tree


def _gap(text: str) -> Tree:
    """A line that says that a link is missing or uncertain."""
    return Tree(Text(text, style="red"))


def _key(run: Run) -> str:
    """What a computation goes by here: its `LockEntry.key`, or the id of a run that broke off."""
    return str(run.data.tags.get(tags.ENTRY, run.info.run_id))


def _entry_of_tags(run: Run) -> LockEntry:
    deps, outs = (
        {k.removeprefix(prefix): v for k, v in run.data.tags.items() if k.startswith(prefix)}
        for prefix in (tags.DEP, tags.OUT)
    )
    return LockEntry(run.data.tags[tags.STAGE], run.data.params, deps, outs)


def _code_of(run: Run | None) -> dict[str, str] | None:
    """Md5 of each file of code that a run read, from the run alone; None if that is not there."""
    if run is None or run.data.tags.get(tags.CODE, NO_CODE) == NO_CODE:
        return {}
    try:
        uri = f"runs:/{run.info.run_id}/{tags.CODE_LIST}"
        listed: dict[str, str] = json.loads(store.load_text(uri))
    except (store.MlflowException, OSError):
        return None
    return listed


def _whereabouts(path: str, md5: str) -> Tree:
    if workspace().md5(path) == md5:
        return Tree("file: in the workspace")
    if cached_file(md5).exists():
        return Tree("file: in DVC's cache")
    return _gap("file: not on this machine; try `dvc fetch` or `dvc exp pull`")


def _run_line(run: Run | None) -> Tree:
    if run is None:
        return _gap(f"run: none at {shown_uri()}; `make sync` makes it")
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
    line = "; ".join(told)
    return Tree(line) if is_complete else _gap(line)


def _revision_line(holders: list[Revision]) -> Tree:
    if not holders:
        return _gap("revision: none here holds it in its dvc.lock")
    shown = ", ".join(each.title for each in holders[:MOST_SHOWN])
    more = f" and {len(holders) - MOST_SHOWN} more" if len(holders) > MOST_SHOWN else ""
    return Tree(f"revision: {shown}{more}")


def _code_lines(run: Run | None, entry: LockEntry, holders: list[Revision]) -> Iterator[Tree]:
    """Whether the code that ran is in a commit: that of a revision, or what was checked out."""
    seen = run.data.tags if run else {}
    if tags.EDITED in seen:
        text = f"edited while it ran, so DVC's record is not what ran: {seen[tags.EDITED]}"
        yield _gap(text)
    code = entry.code or _code_of(run)
    if code is None:
        yield _gap("code: not known; the run broke off before it stored the list of its files")
        return
    what, differing = f"code: {len(code)} files", ""
    commits = [*(each.commit for each in holders), seen.get(tags.COMMIT, "")]
    for commit in filter(None, dict.fromkeys(commits)):
        then = at_commit(commit)
        try:
            other = [path for path, md5 in code.items() if then.md5(path) != md5]
        except UserError as error:
            yield _gap(f"code: {error}")
            continue
        if not other:
            yield Tree(f"{what}, as in commit {then.name}")
            return
        differing = f"; not as in commit {then.name}: {', '.join(other)}"
    yield _gap(f"{what}, in no commit that is known{differing}")
