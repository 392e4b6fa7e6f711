"""Which two revisions are compared, if the user does not name both."""

from stages.data.errors import UserError
from stages.workflow.revisions import (
    SHORT,
    WORKSPACE,
    Revision,
    commit_of,
    find_revision,
    git_says,
    repository,
)

MAIN_BRANCHES = ("main", "origin/main", "origin/HEAD")
HISTORY_IS_CUT = (
    "This clone is shallow; fetch the rest with `git fetch --unshallow origin` (in GitHub Actions "
    "`fetch-depth: 0`, in GitLab `GIT_DEPTH: 0`)"
)


def choose_revisions(base: str, head: str) -> tuple[Revision, Revision, str]:
    """Find the two sides.

    Args:
        base: names a revision. Empty for the default: where the head left the main branch; if it
            did not leave it, the last commit for a workspace with changes, else the parent. Of a
            DVC experiment it is the commit that it started from.
        head: names a revision; empty for the workspace.

    Returns:
        Base, head, and how the base was chosen, in a clause; empty if the user named it.

    Raises:
        UserError: there is no such revision, or the history that the default needs.
    """
    try:
        head_revision = find_revision(head or WORKSPACE)
        if base:
            return find_revision(base), head_revision, ""
        default, why = _default_base(head_revision)
    except UserError as error:
        if git_says("rev-parse", "--is-shallow-repository") == "true":
            raise UserError(f"{error}. {HISTORY_IS_CUT}") from None
        raise
    return default, head_revision, why


def _default_base(head: Revision) -> tuple[Revision, str]:
    """The base, and why it is that."""
    repository()  # tells why, if Git does not work
    if not head.commit:
        raise UserError("nothing is committed yet, so there is no base; commit the project first")
    if head.baseline:
        return _commit(head.baseline), f"where the experiment {head.name} started"
    main = [name for name in MAIN_BRANCHES if commit_of(name)]
    if not main:
        branches = " or ".join(MAIN_BRANCHES)
        raise UserError(f"there is no branch {branches} to find a base with; name BASE")
    # Of several, the point that is nearest: a main branch that was not pulled lies further back.
    fork = git_says("merge-base", head.commit, *main)
    if not fork:
        raise UserError(f"no commit is common to {head.name} and {' or '.join(main)}; name BASE")
    if fork != head.commit:
        return _commit(fork), f"where it left {main[0]}"
    if head.is_workspace and git_says("status", "--porcelain", "--untracked-files=no", "--", "."):
        return Revision("HEAD", "commit", fork), "the last commit, as the workspace has changes"
    parent = commit_of(f"{fork}^")
    if not parent:
        what = f"{fork[:SHORT]} has no parent to compare with, and the workspace has no changes"
        raise UserError(f"{what}; name BASE")
    return _commit(parent), "its parent, as the main branch has it already"


def _commit(commit: str) -> Revision:
    return Revision(commit[:SHORT], "commit", commit)
