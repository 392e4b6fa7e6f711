"""Revisions that hold results: each a dvc.lock, and the files that it names.

The rows of `dvc exp show` for all branches and tags, and the experiments of older commits as well,
read from Git in a tenth of a second for a hundred of them.
"""

import functools
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stages.data.errors import UserError
from stages.tracking.declared import LOCK_FILE, StageRecord, records_in, workspace_records
from stages.tracking.environment import experiment_tags, identity_tags
from stages.tracking.mirror import Snapshot, file_in_workspace
from stages.workflow.repository import file_at, find_commit, references, repository

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Revision:
    """A state of the project that has results.

    Attributes:
        name: of the branch, tag or experiment; `workspace`; or a commit's id.
        kind: branch, tag, experiment, commit or workspace.
        commit: id of the commit; of the workspace, the one that is checked out.
        baseline: of an experiment, the commit that it started from; else empty.
        records: what its dvc.lock records, by stage.
    """

    name: str
    kind: str
    commit: str
    baseline: str
    records: dict[str, StageRecord]

    @property
    def title(self) -> str:
        """Kind and name."""
        return self.name if self.name == self.kind else f"{self.kind} {self.name}"

    def snapshot(self, folder: Path) -> Snapshot:
        """Its results; files of Git are written to `folder` when they are wanted."""
        if self.kind == WORKSPACE:
            return Snapshot(self.records, identity_tags(), file_in_workspace)
        tags = experiment_tags(self.name if self.baseline else "", self.baseline)
        tags["git.commit"] = self.baseline or self.commit
        return Snapshot(self.records, tags, lambda path, md5: self._find_file(path, md5, folder))

    def _find_file(self, path: str, md5: str, folder: Path) -> Path | None:
        target = folder / md5 / path
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file_at(self.commit, path)
        if content is not None and md5_of(content) == md5:
            target.write_bytes(content)
            return target
        cached = dvc_cache() / md5[:2] / md5[2:]
        if not cached.exists():
            return None
        target.symlink_to(cached)
        return target


def all_revisions() -> list[Revision]:
    """Branches, tags and experiments, the oldest first, and the workspace at the end."""
    named = [_read(each.name, each.kind, each.commit, each.baseline) for each in references()]
    return [each for each in [*named, _workspace()] if each.records]


def find_revision(name: str) -> Revision:
    """A revision by the name of a branch, tag or experiment, `workspace`, or as Git names commits.

    Raises:
        UserError: there is none, or it has no results.
    """
    for revision in reversed(all_revisions()):
        if revision.name == name:
            return revision
    commit = find_commit(name)
    revision = _read(commit, "commit", commit, "")
    if not revision.records:
        raise UserError(f"{name}: has no {LOCK_FILE}, so no results; give a later revision")
    return revision


def revisions_with(record: str) -> list[Revision]:
    """Revisions that hold a computation: branches, tags, experiments, workspace, else commits.

    Args:
        record: `StageRecord.key`.
    """
    named = [each for each in all_revisions() if _holds(each, record)]
    return named or [each for each in history() if _holds(each, record)]


def history() -> list[Revision]:
    """Commits of all branches, tags and experiments that changed results, the latest first."""
    commits = repository().git.rev_list("--all", "--", str(LOCK_FILE)).split()
    return [_read(commit, "commit", commit, "") for commit in commits]


@functools.cache
def dvc_cache() -> Path:
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


def md5_of(content: bytes | None) -> str | None:
    """Hex digest, as DVC names files; None if there is no file."""
    if content is None:
        return None
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _holds(revision: Revision, record: str) -> bool:
    return any(each.key == record for each in revision.records.values())


def _workspace() -> Revision:
    """The working directory, whether or not it was committed."""
    head = repository().head
    commit = head.commit.hexsha if head.is_valid() else ""
    return Revision(WORKSPACE, WORKSPACE, commit, "", workspace_records())


def _read(name: str, kind: str, commit: str, baseline: str) -> Revision:
    """A revision of Git; one whose lock file cannot be read has no results, and is named."""
    lock = file_at(commit, str(LOCK_FILE))
    records: dict[str, StageRecord] = {}
    try:
        records = records_in(lock.decode()) if lock else {}
    except (UserError, UnicodeDecodeError) as error:
        print(f"WARNING: {kind} {name} is left out: {error}", file=sys.stderr)
    return Revision(name, kind, commit, baseline, records)
