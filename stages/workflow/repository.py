"""The Git repository: what revisions there are, and the files in them.

DVC keeps experiments as references of Git (`refs/exps/`, see "Experiments" in DVC's user guide).
"""

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # without Git, importing would fail
import git  # it reads its environment when it is imported

from stages.data.errors import UserError  # as git

# refs/exps/ + baseline commit in two parts + name; DVC's own references beside them are not these.
REFERENCE = re.compile(
    r"refs/(?:(?P<kind>heads|tags)/|exps/(?P<start>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/)(?P<name>.+)"
)
KINDS = {"heads": "branch", "tags": "tag", None: "experiment"}


@dataclass(frozen=True)
class Reference:
    """A name for a commit.

    Attributes:
        name: of the branch, tag or experiment.
        kind: branch, tag or experiment.
        commit: id of the commit.
        baseline: of an experiment, the commit that it started from; else empty.
    """

    name: str
    kind: str
    commit: str
    baseline: str


def references() -> list[Reference]:
    """Branches, tags and DVC experiments, the oldest commit first."""
    listed = repository().git.for_each_ref(
        "--format=%(refname) %(objectname) %(*objectname)",
        "--sort=committerdate",
        *("refs/heads", "refs/tags", "refs/exps"),
    )
    found = []
    for line in listed.splitlines():
        reference, *commits = line.split()
        if match := REFERENCE.fullmatch(reference):
            baseline = (match["start"] or "") + (match["rest"] or "")
            kind = KINDS[match["kind"]]
            # Of an annotated tag, the commit comes second.
            found.append(Reference(match["name"], kind, commits[-1], baseline))
    return found


def find_commit(name: str) -> str:
    """Id of the commit that a branch, tag, experiment or Git's own notation names.

    Raises:
        UserError: there is none.
    """
    for reference in references():
        if reference.name == name:
            return reference.commit
    try:
        peeled = f"{name}^{{commit}}"
        commit: str = repository().git.rev_parse("--verify", "--end-of-options", peeled)
    except git.GitCommandError:
        raise UserError(
            f"{name}: is no revision; give a branch, tag, commit, DVC experiment or `workspace`"
        ) from None
    return commit


def file_at(commit: str, path: str) -> bytes | None:
    """Content of a file in a commit; None if the commit has no such file.

    Raises:
        UserError: Git does not have the commit.
    """
    try:
        blob = repository().commit(commit).tree / path
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
def repository() -> git.Repo:
    """The repository around the working directory.

    Raises:
        UserError: there is none.
    """
    try:
        return git.Repo(search_parent_directories=True)
    except git.InvalidGitRepositoryError:
        raise UserError(
            f"{Path.cwd()}: is no Git repository; run this in a clone of the project"
        ) from None
