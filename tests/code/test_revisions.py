"""Which revisions there are: what `dvc exp show` would list, from a real repository."""

import subprocess
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.tracking.outputs import content_of, revision_with_results, revisions_with_results
from stages.workflow.revisions import Revision, find_revision, named_revisions

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.invalid")
    git("init", "--quiet", "--initial-branch", "main")
    return tmp_path


def test_branches_tags_experiments_and_the_workspace_are_there_and_nothing_else() -> None:
    first = commit("first")
    git("tag", "--annotate", "v1", "--message", "a tag with a text")
    second = commit("second")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/muddy-otter", second)
    for own in ("refs/exps/stash", "refs/exps/exec/EXEC_HEAD", "refs/exps/celery/stash"):
        git("update-ref", own, second)  # DVC's own
    Path("dvc.lock").write_text(LOCK.format(md5="third"))
    found = {
        (each.kind, each.name, each.commit, each.baseline) for each in revisions_with_results()
    }
    assert found == {
        ("tag", "v1", first, ""),
        ("branch", "main", second, ""),
        ("experiment", "muddy-otter", second, first),
        ("workspace", "workspace", second, ""),
    }
    md5 = {
        each.name: each.lock["train"].outs["data/models/cnn.npz"]
        for each in revisions_with_results()
    }
    assert md5 == {"v1": "first", "main": "second", "muddy-otter": "second", "workspace": "third"}


def test_a_branch_with_a_broken_lock_file_is_named_and_the_others_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit("good")
    git("switch", "--quiet", "--create", "half-merged")
    commit("x'\n<<<<<<< ours'\n=======\n'>>>>>>> theirs")
    git("switch", "--quiet", "main")
    assert {each.name for each in revisions_with_results()} == {"main", "workspace"}
    said = capsys.readouterr().err
    assert said.startswith("WARNING: branch half-merged is left out: dvc.lock: line ")
    assert "take one side whole" in said


def test_commits_are_found_by_every_name_that_git_and_dvc_know() -> None:
    first = commit("first")
    second = commit("second")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/muddy-otter", first)
    for name in ("HEAD~1", first, first[:10], "muddy-otter"):
        assert find_revision(name).commit == first
    assert find_revision("HEAD~1").lock["train"].outs == {"data/models/cnn.npz": "first"}
    assert [each.commit for each in named_revisions() if each.kind == "branch"] == [second]


@pytest.mark.parametrize("name", ["nonsense", "HEAD~99", "0" * 40, "-x", ""])
def test_what_is_no_revision_is_told_so(name: str) -> None:
    commit("first")
    with pytest.raises(UserError, match="is no revision; give a branch, tag, commit"):
        find_revision(name)


def test_a_revision_without_results_is_told_so() -> None:
    Path("readme").write_text("x")
    git("add", "--all")
    git("commit", "--quiet", "--message", "no lock")
    with pytest.raises(UserError, match=r"has no dvc\.lock, so no results"):
        revision_with_results("HEAD")


def test_a_file_that_a_commit_lacks_is_none_and_a_commit_that_is_not_here_is_told() -> None:
    first = commit("first")
    at_first = Revision("first", "commit", first)
    assert at_first.read("metrics/none.json") is None
    assert at_first.read("dvc.lock") == LOCK.format(md5="first").encode()
    with pytest.raises(UserError, match="is not in this clone"):
        Revision("x", "commit", "1" * 40).read("dvc.lock")


def test_a_folder_of_a_commit_goes_by_the_md5_that_dvc_gives_it() -> None:
    Path("pictures").mkdir()
    Path("pictures/b.png").write_text("b")
    Path("pictures/a.png").write_text("a")
    first = commit("first")
    Path("dvc.yaml").write_text("stages: {a: {cmd: 'true', outs: [pictures: {cache: false}]}}")
    subprocess.run(["dvc", "init", "--quiet", "--force"], check=True)
    subprocess.run(["dvc", "commit", "--quiet", "--force"], check=True)
    recorded = revision_with_results("workspace").lock["a"].outs["pictures"]
    at_first = Revision("first", "commit", first)
    assert at_first.md5("pictures") == recorded
    assert content_of(at_first, "pictures", recorded) == {
        "pictures/a.png": b"a",
        "pictures/b.png": b"b",
    }
