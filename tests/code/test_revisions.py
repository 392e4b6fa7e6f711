"""Which revisions there are: what `dvc exp show` would list, from a real repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.results.choose import choose_revisions
from stages.results.provenance import _checkout
from stages.tracking.outputs import (
    content_of,
    holders_of,
    revision_with_results,
    revisions_with_results,
)
from stages.tracking.tags import COMMIT, DIRTY, of_revision
from stages.workflow.revisions import (
    Revision,
    find_revision,
    history,
    named_revisions,
    workspace,
)

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

# What a user may have set for all repositories, and what would break a command that heeds it.
SETTINGS = """\
[commit]
  gpgsign = true
[tag]
  gpgsign = true
[gpg]
  program = /none
[core]
  quotePath = true
  pager = /none
  autocrlf = true
[color]
  ui = always
[column]
  ui = always
[diff]
  external = /none
  relative = true
  mnemonicPrefix = true
[log]
  showSignature = true
  decorate = full
[status]
  short = true
  branch = true
  relativePaths = true
  showUntrackedFiles = all
[include]
  path = {gitconfig}
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
    git("init", "--quiet")
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


def test_a_commit_with_a_broken_lock_file_is_named_once_for_all_that_is_looked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit("good")
    commit("x'\n<<<<<<< ours'\n=======\n'>>>>>>> theirs")
    for key in ("one computation", "another"):
        assert holders_of(key, []) == []
    assert capsys.readouterr().err.count("WARNING: commit") == 1


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


def test_a_project_in_a_folder_of_a_repository_is_judged_alone_whatever_git_is_set_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    Path("others.txt").write_text("theirs")
    monkeypatch.chdir(project)
    Path("dvc.yaml").write_text("stages: {a: {cmd: 'true', outs: [ö.txt, ../out]}}")
    Path("ö.txt").write_text("1")
    first = commit("first")
    Path("code.py").write_text("1")
    second = commit("second")
    (tmp_path / "gitconfig").write_text(SETTINGS.format(gitconfig=os.environ["GIT_CONFIG_GLOBAL"]))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for path, is_dirty, base in (
        ("../others.txt", "false", first),  # of another project
        ("ö.txt", "false", second),  # what the pipeline writes is no edit, but to be compared
        ("code.py", "true", second),
    ):
        Path(path).write_text("edited")
        assert of_revision(workspace()) == {DIRTY: is_dirty, COMMIT: second}
        assert choose_revisions("", "")[0].commit == base
    assert [each.commit for each in history()] == [second, first]
    assert find_revision("HEAD~1").lock["train"].outs == {"data/models/cnn.npz": "first"}
    assert "./dvc.lock" in find_revision("main").paths_below(".")
    assert _checkout({"code.py"}) == (second, git("show", "-s", "--format=%cs"), ["ö.txt"], "")


def test_a_hook_of_another_repository_leads_nowhere_else(tmp_path: Path) -> None:
    here = commit("here")
    git("init", "--quiet", "other")
    code = "from stages.workflow.revisions import find_revision as f; print(f('HEAD').commit)"
    of_hook = {
        "GIT_DIR": str(tmp_path / "other" / ".git"),
        "GIT_WORK_TREE": str(tmp_path / "other"),
        "GIT_INDEX_FILE": str(tmp_path / "none"),
    }
    root = str(Path(__file__).resolve().parents[2])
    told = subprocess.check_output(
        [sys.executable, "-c", code], env={**os.environ, **of_hook, "PYTHONPATH": root}, text=True
    )
    assert told.strip() == here


def test_a_worktree_is_a_checkout_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first = commit("first")
    git("worktree", "add", "--quiet", "-b", "beside", "beside")
    monkeypatch.chdir("beside")
    second = commit("second")
    assert {each.name: each.commit for each in named_revisions()} == {
        "main": first,
        "beside": second,
    }
    assert workspace().commit == second
    assert choose_revisions("", "")[0].commit == first


def test_a_repository_that_git_refuses_is_told_with_gits_own_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit("first")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own means for such tests
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    refused = "detected dubious ownership .* git config --global --add safe.directory"
    for asked in (
        named_revisions,
        history,
        lambda: find_revision("HEAD"),
        lambda: choose_revisions("", ""),
        lambda: Revision("x", "commit", "1" * 40).read("dvc.lock"),
    ):
        with pytest.raises(UserError, match=refused) as raised:
            asked()
        assert "\n" not in str(raised.value)
    # A stage goes on, and is tracked without a commit.
    assert of_revision(workspace()) == {DIRTY: "true"}


def test_tags_on_what_is_no_commit_are_left_out_and_tags_on_tags_followed() -> None:
    first = commit("first")
    git("tag", "file", "HEAD:dvc.lock")
    git("tag", "folder", "HEAD^{tree}")
    for name, what in (("text", "HEAD"), ("of-text", "text"), ("of-file", "file")):
        git("tag", "--annotate", name, "--message", name, what)
    assert {each.name: each.commit for each in named_revisions()} == dict.fromkeys(
        ("text", "of-text", "main"), first
    )
    assert find_revision("of-text").kind == "tag"
    for name in ("file", "folder", "of-file"):
        with pytest.raises(UserError, match="is no revision"):
            find_revision(name)


def test_of_two_experiments_with_one_name_that_from_here_counts_else_none_as_for_dvc() -> None:
    starts = [commit("first"), commit("second")]
    ends = [commit("first end"), commit("second end")]
    for start, end in zip(starts, ends, strict=True):
        git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/twin", end)
    for start, end in zip(starts, ends, strict=True):
        git("reset", "--quiet", "--hard", start)
        assert find_revision("twin").commit == end
        assert choose_revisions("", "twin")[0].commit == start
    git("reset", "--quiet", "--hard", ends[0])
    with pytest.raises(UserError) as raised:
        find_revision("twin")
    said, _, listed = str(raised.value).rpartition(": ")
    assert said == "twin: is the name of 2 experiments; give the commit of one"
    # The oldest first; these may be of one second.
    expected = {f"{e[:10]} (from {s[:10]})" for s, e in zip(starts, ends, strict=True)}
    assert set(listed.split(" or ")) == expected
    git("branch", "twin", starts[0])  # Git's own names go first
    assert (find_revision("twin").kind, find_revision("twin").commit) == ("branch", starts[0])


def test_a_file_that_is_damaged_in_the_repository_is_named(folder: Path) -> None:
    first = commit("first")
    blob = git("rev-parse", "HEAD:dvc.lock")
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(UserError, match=rf"commit {first}: dvc\.lock is not in this clone"):
        find_revision("main").read("dvc.lock")
