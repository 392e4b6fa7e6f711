"""Outputs of a revision: their files, wherever they are on this machine, found by content."""

import atexit
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.data.errors import UserError
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import Revision, find_revision, history, named_revisions, workspace


def revisions_with_results() -> list[Revision]:
    """Branches, tags and experiments, the oldest first, and the workspace at the end."""
    return list(with_results([*named_revisions(), workspace()]))


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

    return holding(named)[::-1] or holding(with_results(history()))


def revision_with_results(name: str) -> Revision:
    """A revision by its name, as `stages.workflow.revisions.find_revision` takes it.

    Raises:
        UserError: there is none, or it has no results.
    """
    revision = find_revision(name)
    if not revision.lock:
        raise UserError(f"{name}: has no {LOCK_FILE}, so no results; give a later revision")
    return revision


def files_of(revision: Revision, path: str, md5: str) -> dict[str, Path] | None:
    """The files of an output that is a file or a folder; None if its content is not here.

    Args:
        revision: in whose workspace or commit to look; DVC's cache is next.
        path: of the output.
        md5: its content, as DVC names it; of a folder it ends in `.dir`.

    Returns:
        A file with the content of each, and its name, by path.
    """
    if revision.md5(path) != md5:
        return cached_files(path, md5)
    paths = revision.paths_below(path) if md5.endswith(".dir") else [path]
    return {each: _file_in(revision, each, md5) for each in paths}


def cached_files(path: str, md5: str) -> dict[str, Path] | None:
    """The files of an output as they are in DVC's cache, as `files_of` gives them."""
    cached = _dvc_cache() / md5[:2] / md5[2:]
    if not cached.exists():
        return None
    if md5.endswith(".dir"):
        listed = json.loads(cached.read_text(encoding="utf-8"))
        parts = [cached_files(f"{path}/{each['relpath']}", each["md5"]) for each in listed]
        if not all(parts):
            return None
        return {name: file for part in parts if part for name, file in part.items()}
    link = _scratch() / md5 / path
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cached)
    return {path: link}


def _file_in(revision: Revision, path: str, md5: str) -> Path:
    if revision.is_workspace:
        return Path(path)
    file = _scratch() / md5 / path
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(revision.read(path) or b"")
    return file


@functools.cache
def _scratch() -> Path:
    """A folder for files of Git and of the cache, until the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="revisions-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def _dvc_cache() -> Path:
    """Where DVC keeps files by md5: the cache's folder as `dvc cache dir` tells it.

    Its layout is documented ("Structure of the cache directory"); it is only read here.
    """
    told = subprocess.run(
        ["dvc", "cache", "dir"],  # noqa: S607  # DVC of the environment
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise UserError(f"`dvc cache dir` failed ({told.stderr.strip()}); mend .dvc/config")
    return Path(told.stdout.strip()) / "files" / "md5"
