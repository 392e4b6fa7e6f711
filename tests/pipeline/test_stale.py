"""A dvc.lock that does not belong to code, settings and data is found, without data or cache."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.commands.check_lock import check
from stages.data.errors import UserError
from stages.tracking.kept_files import read_in_workspace
from stages.workflow.repository import repository
from stages.workflow.staleness import Kind, StaleStage, stale_stages
from tests.pipeline.conftest import Project, copy_working_tree

ROOT = Path(__file__).resolve().parents[2]
NO_DATA = ("deleted", "not in cache")  # what `dvc status` says of data that are not here
# A pipeline in small: data that DVC keeps, results that Git keeps, a template, a section, a list.
PARAMS = """\
width: 1

model:
  kind: small
  small: {layers: [8, 8], rate: 0.1}
  large: {layers: [64, 64], rate: 0.1}

note: nobody reads this
"""
PIPELINE = """\
stages:
  fetch:
    cmd: cat fetch.py > raw.bin; grep width params.yaml >> raw.bin
    deps: [fetch.py]
    params: [width]
    outs: [raw.bin]
  train:
    cmd:
      - cat raw.bin train.py > model.bin
      - grep layers params.yaml | tee -a model.bin > metrics/train
    deps: [raw.bin, train.py]
    params: [model.kind, 'model.${model.kind}']
    outs: [model.bin]
    metrics:
      - metrics/train: {cache: false}
  evaluate:
    cmd: cat model.bin > metrics/evaluate
    deps: [model.bin, metrics/train]
    metrics:
      - metrics/evaluate: {cache: false}
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("stale") / "original")
    (project.folder / "metrics").mkdir(parents=True)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.invalid")
    project.run("dvc", "init", "--quiet")
    shutil.copy(ROOT / ".gitattributes", project.folder)
    files = {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "Makefile": "repro:\n\t@dvc repro\n"}
    for name, text in {**files, "fetch.py": "STEP = 1\n", "train.py": "STEP = 1\n"}.items():
        (project.folder / name).write_text(text)
    project.run("dvc", "repro")
    project.commit("results")
    project.run("git", "tag", "first")
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy with its data and DVC's cache, in which the test stands."""
    shutil.copytree(original.folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    repository.cache_clear()
    return Project(tmp_path / "project")


def replace(path: str | Path, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def stale_now() -> dict[str, StaleStage]:
    return {each.stage: each for each in stale_stages(read_in_workspace)}


def called_stale_by_dvc(project: Project) -> set[str]:
    status: dict[str, Any] = json.loads(project.run("dvc", "status", "--json").stdout)
    return set(status)


def make_anew() -> None:
    """Run the first stage alone, so that the second has read what is no more."""
    replace("fetch.py", "1", "2")
    subprocess.run(["dvc", "repro", "--quiet", "fetch"], check=True)


def forget_a_stage() -> None:
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(re.sub(r"(?ms)^  train:\n.*?(?=^  \S|\Z)", "", lock))


@pytest.mark.parametrize(
    ("change", "stages", "told"),
    [
        (lambda: None, {}, ""),
        (lambda: replace("params.yaml", "nobody", "no one"), {}, ""),
        (lambda: replace("params.yaml", "64, 64", "32, 32"), {}, ""),
        (lambda: replace("train.py", "1", "2"), {"train": Kind.READ}, "train.py has changed"),
        (lambda: Path("fetch.py").unlink(), {"fetch": Kind.READ}, "fetch.py is missing"),
        (
            lambda: replace("params.yaml", "width: 1", "width: 2"),
            {"fetch": Kind.SETTING},
            "width is 2 and was 1",
        ),
        (
            lambda: replace("params.yaml", "8, 8", "8, 9"),
            {"train": Kind.SETTING},
            "model.small.layers is [8, 9] and was [8, 8]",
        ),
        (
            lambda: replace("params.yaml", "kind: small", "kind: large"),
            {"train": Kind.SETTING},
            "model.kind is large and was small",
        ),
        (
            lambda: Path("metrics/evaluate").write_text("better"),
            {"evaluate": Kind.WRITTEN},
            "metrics/evaluate is not as the stage wrote it",
        ),
        (
            lambda: Path("metrics/train").unlink(),
            {"train": Kind.WRITTEN, "evaluate": Kind.READ},
            "metrics/train is missing",
        ),
        (make_anew, {"train": Kind.REMADE}, "raw.bin has been made anew"),
        (
            lambda: replace("dvc.yaml", "- cat raw.bin", "- cat  raw.bin"),
            {"train": Kind.COMMAND},
            "its command has changed",
        ),
        (
            lambda: replace("dvc.yaml", "[fetch.py]", "[fetch.py, train.py]"),
            {"fetch": Kind.NEW},
            "it now reads train.py",
        ),
        (
            lambda: replace("dvc.yaml", "[width]", "[width, note]"),
            {"fetch": Kind.NEW},
            "it now reads note",
        ),
        (forget_a_stage, {"train": Kind.UNRECORDED}, "it is not in dvc.lock"),
    ],
)
def test_what_dvc_status_calls_changed_where_the_data_are_is_called_so_without_them(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[], None],
    stages: dict[str, Kind],
    told: str,
) -> None:
    change()
    found = stale_now()
    kinds = {name: each.changes[0].kind for name, each in found.items() if each.changes}
    assert kinds == stages
    assert called_stale_by_dvc(project) == set(stages)
    if stages:
        assert found[next(iter(stages))].changes[0].told == told
    without_data = shutil.ignore_patterns("*.bin", ".dvc", ".git")
    shutil.copytree(project.folder, tmp_path / "ci", ignore=without_data)
    monkeypatch.chdir(tmp_path / "ci")
    assert stale_now() == found


def test_stages_that_come_after_one_that_must_run_are_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("fetch.py", "1", "2")
    with pytest.raises(SystemExit) as stopped:
        check(None, may_be_stale=False)
    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "ERROR: fetch is out of date: fetch.py has changed; run `dvc repro fetch`",
        "ERROR: train comes after fetch; run `dvc repro train`",
        "ERROR: evaluate comes after train; run `dvc repro evaluate`",
        "`make repro` runs all of it; then commit dvc.lock and metrics/",
    ]
    check(None, may_be_stale=True)
    assert "WARNING: fetch is out of date" in capsys.readouterr().err
    project.run("make", "repro")
    check(None, may_be_stale=False)
    assert capsys.readouterr().out == "dvc.lock belongs to the code and the settings\n"


def test_what_dvc_would_leave_in_the_lock_for_ever_is_told_with_what_removes_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("dvc.yaml", "params: [width]", "params: []")
    assert called_stale_by_dvc(project) == set()  # and `dvc repro` would do nothing
    with pytest.raises(SystemExit):
        check(None, may_be_stale=False)
    (told,) = capsys.readouterr().err.splitlines()
    assert "fetch is out of date: it reads width no more; run `dvc commit --force fetch`" in told
    project.run("dvc", "commit", "--force", "fetch")
    assert not stale_now()
    replace("dvc.yaml", "  evaluate:", "  measure:")
    project.run("dvc", "repro")
    with pytest.raises(SystemExit):
        check(None, may_be_stale=False)
    (told,) = capsys.readouterr().err.splitlines()
    assert "evaluate is out of date: it is not in dvc.yaml; delete its entry" in told


def test_a_revision_is_checked_without_checking_it_out(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run("git", "switch", "--quiet", "--create", "half-done")
    replace("train.py", "1", "2")
    project.commit("code without results")
    project.run("git", "switch", "--quiet", "main")
    check("main", may_be_stale=False)
    with pytest.raises(SystemExit):
        check("half-done", may_be_stale=False)
    assert "train is out of date: train.py has changed" in capsys.readouterr().err
    with pytest.raises(UserError, match="nonsense: is no revision"):
        check("nonsense", may_be_stale=False)


def test_data_that_were_added_by_hand_are_compared_as_their_dvc_file_says(project: Project) -> None:
    Path("labels.csv").write_text("1\n")
    project.run("dvc", "add", "--quiet", "labels.csv")
    replace("dvc.yaml", "[fetch.py]", "[fetch.py, labels.csv]")
    project.run("dvc", "repro", "--quiet")
    Path("labels.csv").unlink()
    assert not stale_now()
    Path("labels.csv").write_text("2\n")
    project.run("dvc", "add", "--quiet", "labels.csv")
    Path("labels.csv").unlink()
    assert stale_now()["fetch"].changes[0].told == "labels.csv has changed"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("dvc.lock", "stages:\n<<<<<<< HEAD\n  a:\n=======\n", r"line 2: a merge has left a conf"),
        (
            "dvc.lock",
            "schema: '2.0'\nstages: 3\nx:\n  a:\n",
            "is not (as DVC writes it|a lock file of DVC)",
        ),
        ("dvc.lock", "a: b: c\n", "cannot be read"),
        ("dvc.lock", "\xff\xfe", "cannot be read"),
        ("params.yaml", "a: 1\n>>>>>>> theirs\n", r"line 2: a merge has left a conflict; mend it"),
        ("params.yaml", "width: 1\n", r"model\.kind: is missing, and dvc\.yaml names it"),
        ("dvc.yaml", "[]", "holds no sections"),
        ("dvc.yaml", "stages: {a: {foreach: [1], do: {}}}", "is not understood|has no `cmd`"),
        ("dvc.yaml", "vars: [x.yaml]\nstages: {}", "vars: is not understood here"),
        ("dvc.yaml", "stages: {a: {cmd: x, frozen: true}}", r"stages\.a\.frozen: is not underst"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_file_that_cannot_be_read_is_one_line_that_says_what_to_do(
    name: str, content: str, told: str
) -> None:
    Path(name).write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=told) as raised:
        check(None, may_be_stale=True)
    assert "\n" not in str(raised.value)
    if name == "dvc.lock":
        assert re.search("take (either|one) side", str(raised.value))


def test_the_command_ends_with_the_code_that_its_help_names(project: Project) -> None:
    def ended_with(*options: str) -> int:
        command = ("python", "-m", "stages.commands.check_lock", *options)
        code: int = project.run(*command, check=False, PYTHONPATH=str(ROOT)).returncode
        return code

    assert ended_with() == 0
    replace("train.py", "1", "2")
    assert ended_with() == 1
    assert ended_with("--warn") == 0
    assert ended_with("nonsense") == 2


@pytest.mark.usefixtures("project")
def test_a_missing_lock_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.lock").unlink()
    with pytest.raises(SystemExit):
        check(None, may_be_stale=False)
    assert "ERROR: dvc.lock is missing\n`make repro` runs" in capsys.readouterr().err


@pytest.fixture(scope="module")
def diverged(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two branches, each with another setting and its results; `other` is checked out."""
    project = Project(tmp_path_factory.mktemp("diverged") / "project")
    shutil.copytree(original.folder, project.folder)
    for branch, old, new in (("main", "8, 8", "8, 9"), ("other", "width: 1", "width: 2")):
        project.run("git", "checkout", "--quiet", "-B", branch, "first")
        project.run("dvc", "checkout", "--quiet")
        replace(project.folder / "params.yaml", old, new)
        project.run("dvc", "repro")
        project.commit(new)
    return project


@pytest.mark.parametrize("has_attributes", [True, False])
def test_a_merge_of_two_results_is_no_third_one_and_is_resolved_as_the_page_says(
    diverged: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_attributes: bool
) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(diverged.folder, project.folder)
    monkeypatch.chdir(project.folder)
    if not has_attributes:  # Git then merges line by line
        project.run("git", "rm", "--quiet", ".gitattributes")
        project.commit("no attributes")
    page = (ROOT / "docs" / "ci.md").read_text()
    _, _, section = page.partition("## When a merge conflicts in dvc.lock")
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block
    merge, *commands = block[1].splitlines()
    assert merge.split("#")[0].strip() == "git merge main"
    merged = project.run("git", "merge", "main", check=False)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in merged.stdout
    if has_attributes:
        assert "<<<<<<<" not in Path("dvc.lock").read_text()
        assert stale_now()["train"].changes[0].kind is Kind.SETTING
    else:
        with pytest.raises(UserError, match="a merge has left a conflict"):
            stale_now()
    project.run("bash", "-ec", "\n".join(commands))
    assert not stale_now()
    assert called_stale_by_dvc(project) == set()
    assert not project.git_status()
    assert len(project.run("git", "rev-list", "--parents", "-1", "HEAD").stdout.split()) == 3
    assert "8, 9" in Path("metrics/evaluate").read_text()
    assert "width: 2" in Path("metrics/evaluate").read_text()


def test_the_projects_own_pipeline_is_understood_and_judged_as_dvc_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / "project")
    copy_working_tree(project, with_results=True)
    monkeypatch.chdir(project.folder)
    for name in ("stages/models/cnn.py", "stages/statistics/paired.py"):
        with Path(name).open("a") as file:
            file.write("# another comment\n")
    started = time.process_time()
    found = stale_now()
    assert time.process_time() - started < 1
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    by_dvc = {
        stage
        for stage, changes in status.items()
        for change in changes
        if isinstance(change, str)
        or any(
            how not in NO_DATA or not path.startswith("data/")
            for paths in change.values()
            for path, how in paths.items()
        )
    }
    remade = {Kind.REMADE, Kind.DROPPED}  # DVC sees the first in the data, and the second nowhere
    judged = {name for name, each in found.items() if {c.kind for c in each.changes} - remade}
    assert {"train_cnn", "evaluate"} <= judged
    assert judged == by_dvc


def test_a_commit_may_come_before_its_results_and_a_push_may_not(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the commands: `stages` is not in this project
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv("SKIP", "ruff-check,ruff-format,dvc-pre-commit")  # are in test_hooks.py
    shutil.copy(ROOT / ".pre-commit-config.yaml", project.folder)
    Path(".venv").symlink_to(Path(sys.prefix))
    Path(".git/info/exclude").write_text(".venv\n")
    project.commit("hooks")
    project.run("git", "tag", "hooked")
    project.run("pre-commit", "install", "--allow-missing-config")  # as `make hooks`
    project.run("git", "init", "--quiet", "--bare", str(tmp_path / "server"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "server"))
    replace("fetch.py", "1", "2")
    committed = project.run("git", "commit", "--all", "--message", "work")
    assert "WARNING: fetch is out of date: fetch.py has changed" in committed.stderr
    pushed = project.run("git", "push", "origin", "main", check=False)
    assert pushed.returncode == 1
    assert "ERROR: fetch is out of date" in pushed.stdout + pushed.stderr
    project.run("make", "repro")
    project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    project.run("git", "commit", "--all", "--message", "its results")
    project.run("git", "push", "origin", "main")
    stored = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert len(stored) == 2  # what DVC keeps: raw.bin and model.bin
    project.run("git", "switch", "--detach", "hooked")
    assert Path("raw.bin").read_text() == "STEP = 1\nwidth: 1\n"
    assert called_stale_by_dvc(project) == set()
