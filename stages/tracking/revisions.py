"""Revisions that hold results: each a dvc.lock, and the files that it names.

The rows of `dvc exp show` for all branches and tags, and the experiments of older commits as well.
They are read from Git, where DVC keeps experiments as references (`refs/exps/`, see "Experiments"
in DVC's user guide): for a hundred of them that takes a tenth of a second, and `dvc exp show` most
of a minute.
"""

import functools
import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import git

from stages.tracking.declared import LOCK_FILE, StageRecord, records_in, workspace_records
from stages.tracking.environment import experiment_tags, identity_tags, project_root
from stages.tracking.mirror import Snapshot, file_in_workspace
from stages.workflow.errors import UserError

WORKSPACE = "workspace"
# refs/exps/ + baseline commit in two parts + name; DVC's own references beside them are not these.
REFERENCE = re.compile(
    r"refs/(?:(?P<kind>heads|tags)/|exps/(?P<start>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/)(?P<name>.+)"
)
KINDS = {"heads": "branch", "tags": "tag", None: "experiment"}


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
    listed = _repository().git.for_each_ref(
        "--format=%(refname) %(objectname) %(*objectname)",
        "--sort=committerdate",
        *("refs/heads", "refs/tags", "refs/exps"),
    )
    revisions = []
    for line in listed.splitlines():
        reference, *commits = line.split()
        if match := REFERENCE.fullmatch(reference):
            baseline = (match["start"] or "") + (match["rest"] or "")
            kind = KINDS[match["kind"]]
            # Of an annotated tag, the commit comes second.
            revisions.append(_revision(match["name"], kind, commits[-1], baseline))
    return [each for each in [*revisions, workspace_revision()] if each.records]


def workspace_revision() -> Revision:
    """The working directory, whether or not it was committed."""
    head = _repository().head
    commit = head.commit.hexsha if head.is_valid() else ""
    return Revision(WORKSPACE, WORKSPACE, commit, "", workspace_records())


def find_revision(name: str) -> Revision:
    """A revision by the name of a branch, tag or experiment, `workspace`, or as Git names commits.

    Raises:
        UserError: there is none, or it has no results.
    """
    for revision in reversed(all_revisions()):
        if revision.name == name:
            return revision
    try:
        commit = _repository().commit(name).hexsha
    except (git.BadName, ValueError, IndexError, OSError):
        raise UserError(
            f"{name}: is no revision; give a branch, tag, commit, DVC experiment or `workspace`"
        ) from None
    revision = _revision(commit, "commit", commit, "")
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
    commits = _repository().git.rev_list("--all", "--", str(LOCK_FILE)).split()
    return [_revision(commit, "commit", commit, "") for commit in commits]


def file_at(commit: str, path: str) -> bytes | None:
    """Content of a file in a commit; None if the commit has no such file.

    Raises:
        UserError: Git does not have the commit.
    """
    try:
        blob = _repository().commit(commit).tree / path
    except KeyError:
        return None
    except (git.BadName, ValueError):
        raise UserError(
            f"commit {commit} is not in this clone; fetch the branch or experiment that has it "
            "(`git fetch`, `dvc exp pull`)"
        ) from None
    content: bytes = blob.data_stream.read()
    return content


@functools.cache
def dvc_cache() -> Path:
    """Where DVC keeps files by md5: the cache's folder as `dvc cache dir` tells it.

    Its layout is documented ("Structure of the cache directory"); it is only read here.
    """
    told = subprocess.run(
        ["dvc", "cache", "dir"],  # noqa: S607  # DVC of the environment
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise UserError(f"`dvc cache dir` failed ({told.stderr.strip()}); mend .dvc/config")
    return (project_root() / told.stdout.strip()) / "files" / "md5"


def md5_of(content: bytes) -> str:
    """Hex digest, as DVC names files."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _holds(revision: Revision, record: str) -> bool:
    return any(each.key == record for each in revision.records.values())


def _revision(name: str, kind: str, commit: str, baseline: str) -> Revision:
    lock = file_at(commit, str(LOCK_FILE))
    return Revision(name, kind, commit, baseline, records_in(lock.decode()) if lock else {})


@functools.cache
def _repository() -> git.Repo:
    try:
        return git.Repo(project_root(), search_parent_directories=True)
    except git.InvalidGitRepositoryError:
        raise UserError(
            f"{project_root()}: is no Git repository; run this in a clone of the project"
        ) from None
