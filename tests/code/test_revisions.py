"""Which revisions there are: what `dvc exp show` would list, from a real repository."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.tracking.revisions import all_revisions, find_revision
from stages.workflow.repository import file_at, find_commit, references, repository

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    outs:
    - path: data/models/cnn.npz
      hash: md5
      md5: '{md5}'
"""


def git(*command: str) -> str:
    finished = subprocess.run(["git", *command], text=True, capture_output=True, check=True)
    return finished.stdout.strip()


def commit(md5: str) -> str:
    Path("dvc.lock").write_text(LOCK.format(md5=md5))
    git("add", "--all")
    git("commit", "--quiet", "--message", md5)
    return git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.invalid")
    git("init", "--quiet", "--initial-branch", "main")
    repository.cache_clear()
    yield tmp_path
    repository.cache_clear()


def test_branches_tags_experiments_and_the_workspace_are_there_and_nothing_else() -> None:
    first = commit("first")
    git("tag", "--annotate", "v1", "--message", "a tag with a text")
    second = commit("second")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/muddy-otter", second)
    for own in ("refs/exps/stash", "refs/exps/exec/EXEC_HEAD", "refs/exps/celery/stash"):
        git("update-ref", own, second)  # DVC's own
    Path("dvc.lock").write_text(LOCK.format(md5="third"))
    found = {(each.kind, each.name, each.commit, each.baseline) for each in all_revisions()}
    assert found == {
        ("tag", "v1", first, ""),
        ("branch", "main", second, ""),
        ("experiment", "muddy-otter", second, first),
        ("workspace", "workspace", second, ""),
    }
    md5 = {each.name: each.records["train"].outs["data/models/cnn.npz"] for each in all_revisions()}
    assert md5 == {"v1": "first", "main": "second", "muddy-otter": "second", "workspace": "third"}


def test_a_branch_with_a_broken_lock_file_is_named_and_the_others_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit("good")
    git("switch", "--quiet", "--create", "half-merged")
    commit("<<<<<<< ours'\n=======\n'>>>>>>> theirs")
    git("switch", "--quiet", "main")
    assert {each.name for each in all_revisions()} == {"main", "workspace"}
    said = capsys.readouterr().err
    assert said.startswith("WARNING: branch half-merged is left out: dvc.lock: is not a lock file")
    assert "take one side of it" in said


def test_commits_are_found_by_every_name_that_git_and_dvc_know() -> None:
    first = commit("first")
    second = commit("second")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/muddy-otter", first)
    for name in ("HEAD~1", first, first[:10], "muddy-otter"):
        assert find_commit(name) == first
    assert find_revision("HEAD~1").records["train"].outs == {"data/models/cnn.npz": "first"}
    assert [each.commit for each in references() if each.kind == "branch"] == [second]


@pytest.mark.parametrize("name", ["nonsense", "HEAD~99", "0" * 40, "-x", ""])
def test_what_is_no_revision_is_told_so(name: str) -> None:
    commit("first")
    with pytest.raises(UserError, match="is no revision; give a branch, tag, commit"):
        find_commit(name)


def test_a_revision_without_results_is_told_so() -> None:
    Path("readme").write_text("x")
    git("add", "--all")
    git("commit", "--quiet", "--message", "no lock")
    with pytest.raises(UserError, match=r"has no dvc\.lock, so no results"):
        find_revision("HEAD")


def test_a_file_that_a_commit_lacks_is_none_and_a_commit_that_is_not_here_is_told() -> None:
    first = commit("first")
    assert file_at(first, "metrics/none.json") is None
    assert file_at(first, "dvc.lock") == LOCK.format(md5="first").encode()
    with pytest.raises(UserError, match="is not in this clone"):
        file_at("1" * 40, "dvc.lock")
