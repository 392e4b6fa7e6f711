"""Which two states of the project are compared, as Git and DVC name them."""

from dataclasses import dataclass

from stages.data.errors import UserError
from stages.tracking.kept_files import Read, read_in_workspace
from stages.workflow.repository import file_at, find_commit, references, repository

WORKSPACE = "workspace"
MAIN_BRANCHES = ("main", "origin/main", "origin/HEAD")
SHORT = 10  # hex digits of a commit that is only to be recognized
HISTORY_IS_CUT = (
    "this clone is shallow; fetch the rest with `git fetch --unshallow origin` (in GitHub Actions "
    "`fetch-depth: 0`, in GitLab `GIT_DEPTH: 0`)"
)


@dataclass(frozen=True)
class Endpoint:
    """A state of the project: a commit, or the files in the working directory.

    Attributes:
        name: as the user gave it, or as it was chosen.
        commit: id of the commit; of the workspace the one that is checked out, empty if none is.
        is_workspace: whether it is the working directory.
        why: how it was chosen, in a clause; empty if the user gave it.
    """

    name: str
    commit: str
    is_workspace: bool = False
    why: str = ""

    @property
    def title(self) -> str:
        """Name and commit."""
        short = self.commit[:SHORT]
        return self.name if self.commit.startswith(self.name) else f"{self.name} ({short})"

    @property
    def place(self) -> str:
        """Where something is, as within a sentence."""
        return "in the workspace" if self.is_workspace else f"at {self.name}"

    @property
    def read(self) -> Read:
        """Gives the content of a file; None if there is none at that path."""
        return read_in_workspace if self.is_workspace else lambda path: file_at(self.commit, path)


def choose_endpoints(base: str, head: str) -> tuple[Endpoint, Endpoint]:
    """Find the two sides.

    Args:
        base: a revision or `workspace`. Empty for the default: where the head left the main branch;
            if it did not leave it, the last commit for a workspace with changes, else the parent.
            Of a DVC experiment it is the commit that it started from.
        head: a revision or `workspace`; empty for the workspace.

    Raises:
        UserError: there is no such revision, or the history that the default needs.
    """
    head_endpoint = _find(head or WORKSPACE)
    return _find(base) if base else _default_base(head_endpoint), head_endpoint


def _find(name: str) -> Endpoint:
    if name == WORKSPACE:
        current = repository().head
        commit = current.commit.hexsha if current.is_valid() else ""
        return Endpoint(WORKSPACE, commit, is_workspace=True)
    try:
        commit = find_commit(name)
    except UserError as error:
        raise UserError(f"{error}{_if_shallow()}") from None
    return Endpoint(name[:SHORT] if commit.startswith(name) else name, commit)


def _default_base(head: Endpoint) -> Endpoint:
    if not head.commit:
        raise UserError("nothing is committed yet, so there is no base; commit the project first")
    for reference in references():
        if reference.baseline and reference.name == head.name:
            return _chosen(reference.baseline, f"where the experiment {head.name} started")
    found = {name: _commit_of(name) for name in MAIN_BRANCHES}
    main = {name: commit for name, commit in found.items() if commit}
    if not main:
        raise UserError(
            f"there is no branch {' or '.join(MAIN_BRANCHES)} to find a base with; name BASE"
            f"{_if_shallow()}"
        )
    # Of several, the point that is nearest: a main branch that was not pulled lies further back.
    fork = _git("merge-base", head.commit, *main.values())
    if not fork:
        raise UserError(
            f"no commit is common to {head.name} and {' or '.join(main)}; name BASE{_if_shallow()}"
        )
    if fork != head.commit:
        return _chosen(fork, f"where it left {next(iter(main))}")
    if head.is_workspace and _has_changes():
        return Endpoint("HEAD", fork, why="the last commit, as the workspace has changes")
    parent = _git("rev-parse", "--verify", "--quiet", f"{fork}^")
    if not parent:
        what = f"{fork[:SHORT]} has no parent to compare with, and the workspace has no changes"
        raise UserError(f"{what}; name BASE{_if_shallow()}")
    return _chosen(parent, "its parent, as the main branch has it already")


def _chosen(commit: str, why: str) -> Endpoint:
    return Endpoint(commit[:SHORT], commit, why=why)


def _commit_of(reference: str) -> str:
    return _git("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")


def _git(*command: str) -> str:
    """First line that Git prints; empty if it finds nothing."""
    import git  # after stages.workflow.repository, which lets it be imported without Git

    try:
        told: str = repository().git.execute(["git", *command])
    except git.GitCommandError as error:
        if error.status == 1:  # it looked, and there is none
            return ""
        raise
    return told.partition("\n")[0]


def _has_changes() -> bool:
    status: str = repository().git.status(
        "--porcelain",
        "--untracked-files=no",
        env={"GIT_OPTIONAL_LOCKS": "0"},  # another process may be at work in the repository
    )
    return bool(status)


def _if_shallow() -> str:
    is_shallow = _git("rev-parse", "--is-shallow-repository") == "true"
    return f". {HISTORY_IS_CUT[0].upper()}{HISTORY_IS_CUT[1:]}" if is_shallow else ""
