"""Revisions: states of the project from which files, params, dvc.lock and metrics can be read.

A revision is the workspace, or what Git keeps under a commit, branch, tag or DVC experiment. DVC
keeps experiments as references of Git (`refs/exps/`, see "Experiments" in its user guide); reading
them there takes a tenth of a second for a hundred, `dvc exp show` takes a minute.
"""

import functools
import json
import math
import os
import posixpath
import re
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # without Git, importing would fail
import git  # it reads its environment when it is imported

from stages.data.errors import UserError  # as git
from stages.data.files import file_hash
from stages.workflow.pipeline import (
    LOCK_FILE,
    PARAMS_FILE,
    PIPELINE_FILE,
    LockEntry,
    Pipeline,
    lock_entries,
    md5_of,
    read_file,
    read_pipeline,
    values_in,
)

WORKSPACE = "workspace"
OTHER_PROJECT = ".dvc/config"  # below a folder that is a project of its own
SHORT = 10  # hex digits of a commit that is only to be recognized
# refs/exps/ + baseline commit in two parts + name; DVC's own references beside them are not these.
REFERENCE = re.compile(
    r"refs/(?:(?P<kind>heads|tags)/|exps/(?P<start>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/)(?P<name>.+)"
)
KINDS = {"heads": "branch", "tags": "tag", None: "experiment"}
FIELDS = "%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)"

# A hook of Git names its own repository by these; DVC goes by the working directory, and so do we.
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"):
    os.environ.pop(name, None)


@dataclass(frozen=True)
class Revision:
    """A state of the project.

    Attributes:
        name: of the branch, tag or experiment; `workspace`; or a commit as the user named it.
        kind: branch, tag, experiment, commit or workspace.
        commit: its id; of the workspace the one that is checked out, empty if none is.
        baseline: of an experiment, the commit that it started from; else empty.
    """

    name: str
    kind: str
    commit: str
    baseline: str = ""

    @property
    def is_workspace(self) -> bool:
        """Whether it is the working directory."""
        return self.kind == WORKSPACE

    @property
    def title(self) -> str:
        """Kind and name."""
        return self.name if self.is_workspace else f"{self.kind} {self.name}"

    @property
    def place(self) -> str:
        """Where something is, as within a sentence."""
        return "in the workspace" if self.is_workspace else f"at {self.name}"

    @property
    def remedy(self) -> str:
        """What to do about results that are missing or damaged."""
        return "run `make repro`" if self.is_workspace else "compare another revision"

    def read(self, path: str) -> bytes | None:
        """Content of a file; None if there is none at that path.

        Raises:
            UserError: it cannot be read, or Git does not have the commit.
        """
        if self.is_workspace:
            return read_file(path)
        found = _git_object(self.commit, path)
        return found.data_stream.read() if isinstance(found, git.Blob) else None

    def paths_below(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty if it is none."""
        if self.is_workspace:
            found = (each for each in Path(folder).rglob("*") if each.is_file())
            return sorted(each.as_posix() for each in found)
        tree = _git_object(self.commit, folder)
        if not isinstance(tree, git.Tree):
            return []
        blobs = (each for each in tree.traverse() if isinstance(each, git.Blob))
        return sorted(f"{folder}/{Path(each.path).relative_to(tree.path)}" for each in blobs)

    def md5(self, path: str) -> str | None:
        """What DVC calls the content of a file or folder by; None if there is none.

        Of a folder it is the md5 of the list of its files with theirs, and `.dir` (see "Structure
        of the cache directory" in DVC's documentation).
        """
        if self.is_workspace and Path(path).is_file():
            return file_hash(Path(path), "md5")
        content = self.read(path)
        if content is not None:
            return md5_of(content)
        files = self.paths_below(path)
        if not files:
            return None
        listed = [
            {"md5": self.md5(each), "relpath": Path(each).relative_to(path).as_posix()}
            for each in files
        ]
        return md5_of(json.dumps(listed, sort_keys=True).encode()) + ".dir"

    def added_md5(self, path: str) -> str | None:
        """What DVC calls the content of a file by that came by `dvc add`; None if none did.

        Raises:
            UserError: its .dvc file is not as DVC writes it.
        """
        dvc_file = f"{path}.dvc"
        if self.read(dvc_file) is None:
            return None
        match values_in(self.read, dvc_file):
            case {"outs": [{"md5": str(md5)}]}:
                return md5
        raise UserError(f"{dvc_file}: is not as DVC writes it; restore it from Git")

    @functools.cached_property
    def params(self) -> dict[str, Any]:
        """The sections of params.yaml.

        Raises:
            UserError: it is missing or cannot be read.
        """
        return values_in(self.read, PARAMS_FILE)

    @functools.cached_property
    def lock(self) -> dict[str, LockEntry]:
        """What each dvc.lock recorded, by stage; empty if there is none.

        Raises:
            UserError: it is not what DVC writes.
        """
        entries: dict[str, LockEntry] = {}
        for folder in self._folders_with(LOCK_FILE):
            # A lock file does not say in which folder a stage ran.
            moves = b"wdir" in (self.read(posixpath.join(folder, PIPELINE_FILE)) or b"")
            stages = self.pipeline.stages if moves else {}
            runs_in = {name: stage.folder for name, stage in stages.items()}
            entries |= lock_entries(self.read, folder, runs_in)
        return entries

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """What each dvc.yaml declares.

        Raises:
            UserError: a file cannot be read, or is not as DVC takes it.
        """
        return read_pipeline(self.read, self._folders_with(PIPELINE_FILE))

    @property
    def pipeline_files(self) -> list[str]:
        """Paths of all dvc.yaml."""
        return [posixpath.join(each, PIPELINE_FILE) for each in self._folders_with(PIPELINE_FILE)]

    def _folders_with(self, name: str) -> list[str]:
        """Folders that have a file of this name, the project's own, which is empty, first."""
        found = [path for path in self._dvc_files if posixpath.basename(path) == name]
        return [posixpath.dirname(path) for path in sorted(found or [name], key=len)]

    @functools.cached_property
    def _dvc_files(self) -> list[str]:
        """Paths of dvc.yaml and dvc.lock in all folders but those of other projects."""
        names = (PIPELINE_FILE, LOCK_FILE, OTHER_PROJECT)
        where = "--untracked" if self.is_workspace else self.commit
        files = (f":(glob)**/{name}" for name in names)
        try:
            found = git_says(
                "grep", "--files-with-matches", "--null", "-e", "", where, "--", *files
            )
        except UserError:  # no Git: then the one in the project's folder
            return []
        paths = [each.removeprefix(f"{self.commit}:") for each in found.split("\0")]
        others = [
            each.removesuffix(OTHER_PROJECT) for each in paths if each.endswith(f"/{OTHER_PROJECT}")
        ]
        return [each for each in paths if not each.startswith(tuple(others))]

    def numbers(self, path: str) -> dict[str, Any]:
        """What a metrics file holds: nested objects of finite numbers; null counts as absent.

        Raises:
            UserError: it is missing, is not JSON, or holds something else.
        """
        remedy = self.remedy
        content = self.read(path)
        if content is None:
            raise UserError(f"{path}: is missing; {remedy}")
        try:
            return _numbers_in(json.loads(content.decode()))
        except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"{path}: is not JSON ({error}); {remedy}") from error
        except ValueError as error:
            raise UserError(f"{path}: {error}; {remedy}") from None


def _numbers_in(group: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(group, dict):
        raise ValueError("holds no object with names")  # noqa: TRY004 # it is a mistake in a file
    found: dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, dict):
            found[key] = _numbers_in(value, f"{prefix}{key}.")
        elif isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"{prefix}{key}: {value!r} is no number")  # noqa: TRY004 # it is a mistake in a file
        elif value is not None:
            if not math.isfinite(value):
                raise ValueError(f"{prefix}{key}: {value} is not finite")
            found[key] = value
    return found


def workspace() -> Revision:
    """The working directory, whether or not it was committed; also where Git does not work."""
    try:
        head = repository().head
        commit = head.commit.hexsha if head.is_valid() else ""
    except UserError:
        commit = ""
    return Revision(WORKSPACE, WORKSPACE, commit)


def named_revisions() -> list[Revision]:
    """Branches, tags and DVC experiments, the oldest commit first.

    Raises:
        UserError: Git refuses to tell them.
    """
    kinds = ("refs/heads", "refs/tags", "refs/exps")
    listed = git_says("for-each-ref", "--sort=committerdate", f"--format={FIELDS}", *kinds)
    found = []
    for line in listed.splitlines():
        reference, *_, kind, commit = line.split()  # of an annotated tag, those of what it is on
        match = REFERENCE.fullmatch(reference)
        if match and kind == "tag":  # a tag on a tag
            commit = commit_of(reference)
        if match and commit and kind in ("commit", "tag"):  # a tag may also be on a file
            baseline = (match["start"] or "") + (match["rest"] or "")
            found.append(Revision(match["name"], KINDS[match["kind"]], commit, baseline))
    return found


def history() -> list[Revision]:
    """Commits of all branches, tags and experiments that changed dvc.lock, the latest first."""
    commits = git_says("rev-list", "--all", "--", f":(glob)**/{LOCK_FILE}").split()
    return [at_commit(commit) for commit in commits]


def at_commit(commit: str) -> Revision:
    """A commit by its id alone."""
    return Revision(commit[:SHORT], "commit", commit)


def find_revision(name: str) -> Revision:
    """A revision by its name, as DVC takes it: `workspace`, what Git knows, then an experiment.

    Raises:
        UserError: there is none, or there are several experiments of that name and none of them
            started from what is checked out.
    """
    if name == WORKSPACE:
        return workspace()
    named = [each for each in named_revisions() if each.name == name]
    if commit := commit_of(name):
        for each in named:
            if each.commit == commit and not each.baseline:
                return each
        return Revision(name[:SHORT] if commit.startswith(name) else name, "commit", commit)
    experiments = [each for each in named if each.baseline]
    started_here = [each for each in experiments if each.baseline == workspace().commit]
    if len(found := started_here or experiments) == 1:
        return found[0]
    if found:
        listed = " or ".join(
            f"{each.commit[:SHORT]} (from {each.baseline[:SHORT]})" for each in found
        )
        raise UserError(
            f"{name}: is the name of {len(found)} experiments; give the commit of one: {listed}"
        )
    raise UserError(
        f"{name}: is no revision; give a branch, tag, commit, DVC experiment or `workspace`"
    )


def commit_of(name: str) -> str:
    """The commit that a name of Git leads to; empty if it leads to none.

    Raises:
        UserError: Git refuses to tell.
    """
    peeled = f"{name}^{{commit}}"
    return git_says("rev-parse", "--verify", "--quiet", "--end-of-options", peeled)


def git_says(*command: str) -> str:
    """What a command of Git prints in the project's folder; empty if it looks and finds nothing.

    Raises:
        UserError: Git is not here, or refuses.
    """
    repository()
    return _git_in(Path.cwd(), *command)


def _git_in(folder: Path, *command: str) -> str:
    try:
        # A lock that Git can do without would be in the way of another process.
        told: str = git.Git(folder).execute(["git", "--no-optional-locks", *command])
    except git.GitError as error:
        if isinstance(error, git.GitCommandError) and error.status == 1:
            return ""
        why = getattr(error, "stderr", "").strip().removeprefix("stderr: ").strip("'") or str(error)
        raise UserError(f"Git: {' '.join(why.split())}; mend that and try again") from None
    return told


def repository() -> git.Repo:
    """The Git repository around the working directory.

    Raises:
        UserError: there is none, or Git refuses it.
    """
    return _repository_around(Path.cwd())


@functools.cache
def _repository_around(folder: Path) -> git.Repo:
    try:
        found = git.Repo(folder, search_parent_directories=True)
    except git.InvalidGitRepositoryError:
        raise UserError(
            f"{folder}: is no Git repository; run this in a clone of the project"
        ) from None
    _git_in(folder, "rev-parse", "--git-dir")  # Git may refuse it, as one of another owner
    return found


def _git_object(commit: str, path: str) -> git.Blob | git.Tree | None:
    """A file or folder in a commit; None if the commit has none of that name."""
    # The project may be a folder of a larger repository.
    folder = Path.cwd().resolve().relative_to(Path(repository().working_dir).resolve())
    try:
        found = repository().commit(commit).tree / posixpath.normpath((folder / path).as_posix())
        repository().odb.info(found.binsha)  # it may be damaged, or left out of a partial clone
    except KeyError:
        return None
    except (git.BadName, ValueError):
        raise UserError(
            f"commit {commit}: {path} is not in this clone; fetch the branch or experiment that "
            "has it (`git fetch`, `dvc exp pull`), or see what `git fsck` tells"
        ) from None
    return found if isinstance(found, git.Blob | git.Tree) else None
