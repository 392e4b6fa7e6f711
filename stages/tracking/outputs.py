"""Revisions with results, and what is in their outputs, found by content wherever it is here."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.data.errors import UserError
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import Revision, find_revision, history, named_revisions, workspace


def revisions_with_results(*, all_commits: bool = False) -> list[Revision]:
    """Branches, tags and experiments, the oldest first, and the workspace at the end.

    Args:
        all_commits: whether commits that have no name, and changed a dvc.lock, go before them.
    """
    named = named_revisions()
    commits = {each.commit for each in named}
    others = history()[::-1] if all_commits else []
    others = [each for each in others if each.commit not in commits]
    return list(with_results([*others, *named, workspace()]))


def with_results(revisions: Iterable[Revision]) -> Iterator[Revision]:
    """Those that have entries in dvc.lock; one whose lock cannot be read is named and left out."""
    for revision in revisions:
        try:
            if revision.lock:
                yield revision
        except UserError as error:
            print(f"WARNING: {revision.title} is left out: {error}", file=sys.stderr)


def holders_of(key: str, named: Iterable[Revision]) -> list[Revision]:
    """Of these, else of all commits, those whose dvc.lock has a computation; the latest first."""

    def holding(revisions: Iterable[Revision]) -> list[Revision]:
        return [r for r in revisions if any(entry.key == key for entry in r.lock.values())]

    return holding(named)[::-1] or holding(_past(Path.cwd()))


@functools.cache
def _past(_folder: Path) -> list[Revision]:
    """Commits with results of the project in a folder; what cannot be read is told once."""
    return list(with_results(history()))


def revision_with_results(name: str) -> Revision:
    """A revision by its name, as `stages.workflow.revisions.find_revision` takes it.

    Raises:
        UserError: there is none, or it has no results.
    """
    revision = find_revision(name)
    if not revision.lock:
        raise UserError(f"{name}: has no {LOCK_FILE}, so no results; give a later revision")
    return revision


def content_of(revision: Revision, path: str, md5: str) -> dict[str, bytes] | None:
    """What is in an output; None if that is not on this machine.

    Args:
        revision: in whose workspace or commit to look; DVC's cache is next.
        path: of the output, a file or a folder.
        md5: its content, as DVC names it; of a folder it ends in `.dir`.

    Returns:
        The content of each of its files, by path.
    """
    is_folder = md5.endswith(".dir")
    if revision.md5(path) == md5:
        paths = revision.paths_below(path) if is_folder else [path]
        return {each: revision.read(each) or b"" for each in paths}
    if not (cached := cached_file(md5)).exists():
        return None
    if not is_folder:
        return {path: cached.read_bytes()}
    listed = json.loads(cached.read_text(encoding="utf-8"))
    files = {f"{path}/{each['relpath']}": cached_file(each["md5"]) for each in listed}
    if not all(file.exists() for file in files.values()):
        return None
    return {name: file.read_bytes() for name, file in files.items()}


def cached_file(md5: str) -> Path:
    """Where DVC's cache has this content, if it has it; DVC 2 kept files one level up."""
    name = f"{md5[:2]}/{md5[2:]}"
    current = _dvc_cache() / "files" / "md5" / name
    earlier = _dvc_cache() / name
    return earlier if earlier.exists() and not current.exists() else current


@functools.cache
def _dvc_cache() -> Path:
    """The folder in which DVC keeps files by md5: documented ("Structure of the cache directory").

    Only read here.
    """
    told = subprocess.run(
        ["dvc", "cache", "dir"],  # noqa: S607  # DVC of the environment
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},  # in which it writes its answer
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if told.returncode:
        raise UserError(f"`dvc cache dir` failed ({told.stderr.strip()}); mend .dvc/config")
    return Path(told.stdout.strip())
