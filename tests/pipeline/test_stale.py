"""A dvc.lock that does not belong to code, params and data is found, without data or cache."""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo

from stages.commands import stale
from stages.data.errors import UserError
from stages.workflow.pipeline import flattened
from stages.workflow.revisions import find_revision, workspace
from stages.workflow.staleness import Kind, StaleStage, all_params, changes_of, stale_stages
from tests.pipeline.conftest import Project, copy_working_tree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")
ROOT = Path(__file__).resolve().parents[2]
PARAMS = """\
width: 1

model:
  kind: small
  small: {layers: [8, 8], rate: 0.1}
  large: {layers: [64, 64], rate: 0.1}

note: nobody reads this
"""
LIBRARIES = "keras: 3.15.1\nnumpy: 2.3.0\nrich: 14.0.0\n"
# A pipeline in small: data of DVC, made or added by hand; results that Git keeps, one a folder; a
# template, a section, a list, a second file of params.
PIPELINE = """\
stages:
  fetch:
    cmd: cat labels.bin fetch.py > raw.bin; grep width params.yaml >> raw.bin
    deps: [fetch.py, labels.bin]
    params: [width, {libraries.yaml: [numpy]}]
    outs: [raw.bin]
  train:
    cmd:
      - cat raw.bin train.py > model.bin
      - grep layers params.yaml | tee -a model.bin > metrics/train
      - mkdir metrics/curves; cp train.py metrics/curves/loss
    deps: [raw.bin, train.py]
    params: [model.kind, 'model.${model.kind}', {libraries.yaml: [keras, numpy]}]
    outs: [model.bin]
    metrics:
      - metrics/train: {cache: false}
    plots:
      - metrics/curves: {cache: false}
  evaluate:
    cmd: cat model.bin metrics/curves/loss > metrics/evaluate
    deps: [model.bin, metrics/train, metrics/curves]
    metrics:
      - metrics/evaluate: {cache: false}
"""
FILES = {
    "params.yaml": PARAMS,
    "libraries.yaml": LIBRARIES,
    "dvc.yaml": PIPELINE,
    "labels.bin": "1\n",
    "fetch.py": "STEP = 1\n",
    "train.py": "STEP = 1\n",
    "Makefile": "repro:\n\t@dvc repro\n",
}
BOTH = ["fetch", "train"]
LAST = ["train", "evaluate"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("stale") / "original")
    (project.folder / "metrics").mkdir(parents=True)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "init", "--quiet")
    shutil.copy(ROOT / ".gitattributes", project.folder)
    for name, text in FILES.items():
        (project.folder / name).write_text(text)
    project.run("dvc", "add", "labels.bin")
    project.run("dvc", "repro")
    project.commit("results")
    project.run("git", "tag", "first")
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy with its data and DVC's cache, in which the test stands."""
    shutil.copytree(original.folder, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


def replace(path: str | Path, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def stale_now() -> dict[str, StaleStage]:
    return {each.stage: each for each in stale_stages(workspace())}


def stale_by_status(folder: Path) -> set[str]:
    with Repo(str(folder)) as repo:
        return set(repo.status())


def first_by_dry_run(folder: Path) -> str | None:
    """What `dvc repro --dry --allow-missing` would run, or says that it cannot."""
    with Repo(str(folder)) as repo:
        try:
            ran = repo.reproduce(dry=True, allow_missing=True)
        except ReproductionError as error:
            return str(error).split("'")[1]
        return ran[0].name if ran else None


def call(*options: str) -> int:
    """What the command ends with."""
    parser = argparse.ArgumentParser()
    stale.add_arguments(parser)
    try:
        stale.run(parser.parse_args(options))
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


def add_other_labels() -> None:
    Path("labels.bin").write_text("2\n")
    with Repo() as repo:
        repo.add("labels.bin")


def make_anew() -> None:
    """Run the first stage alone, so that the second has read what is no more."""
    replace("fetch.py", "1", "2")
    with Repo() as repo:
        repo.reproduce("fetch")


def forget_a_stage() -> None:
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(re.sub(r"(?ms)^  train:\n.*?(?=^  \S|\Z)", "", lock))


def put_into_the_folder() -> None:
    Path("metrics/curves/other").write_text("1\n")


def edit(path: str, old: str, new: str) -> Callable[[], None]:
    return lambda: replace(path, old, new)


@pytest.mark.parametrize(
    ("told", "stages", "change"),
    [
        ("", [], lambda: None),
        ("", [], edit("params.yaml", "nobody", "no one")),
        ("", [], edit("params.yaml", "64, 64", "32, 32")),
        ("", [], edit("libraries.yaml", "14.0.0", "14.0.1")),
        ("train.py has changed", ["train"], edit("train.py", "1", "2")),
        ("fetch.py is missing", ["fetch"], lambda: Path("fetch.py").unlink()),
        ("labels.bin has changed", ["fetch"], add_other_labels),
        ("width is 2 and was 1", ["fetch"], edit("params.yaml", "width: 1", "width: 2")),
        ("layers is [8, 9] and was [8, 8]", ["train"], edit("params.yaml", "8, 8", "8, 9")),
        ("model.small.rate is missing", ["train"], edit("params.yaml", "8], rate: 0.1", "8]")),
        ("kind is large and was small", ["train"], edit("params.yaml", "d: small", "d: large")),
        (
            "libraries.yaml:keras is 3.16.0 and was 3.15.1",
            ["train"],
            edit("libraries.yaml", "3.15.1", "3.16.0"),
        ),
        ("numpy is 2.3.1 and was 2.3.0", BOTH, edit("libraries.yaml", "2.3.0", "2.3.1")),
        ("not as the stage wrote it", ["evaluate"], edit("metrics/evaluate", "STEP", "GOAL")),
        ("metrics/curves is not as the stage wrote it", LAST, put_into_the_folder),
        ("metrics/train is missing", LAST, lambda: Path("metrics/train").unlink()),
        ("raw.bin has been made anew", ["train"], make_anew),
        ("its command has changed", ["train"], edit("dvc.yaml", "- cat raw", "- cat  raw")),
        ("it now reads train.py", ["fetch"], edit("dvc.yaml", "[fetch.py", "[train.py, fetch.py")),
        ("it now reads note", ["fetch"], edit("dvc.yaml", "[width", "[note, width")),
        ("it is not in dvc.lock", ["train"], forget_a_stage),
    ],
)
def test_what_dvc_calls_changed_where_the_data_are_is_called_so_without_them(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    stages: list[str],
    change: Callable[[], None],
) -> None:
    change()
    found = stale_now()
    reasons = {name: each.changes[0].told for name, each in found.items() if each.changes}
    assert list(reasons) == stages
    assert all(told in reasons[name] for name in stages[:1])
    assert stale_by_status(project.folder) == set(stages)
    clean = tmp_path / "clean"
    shutil.copytree(project.folder, clean, ignore=shutil.ignore_patterns("*.bin", "cache", "tmp"))
    monkeypatch.chdir(clean)
    assert stale_now() == found
    # Whatever file is missing is for this one of DVC's one of data.
    sees = told not in ("", "fetch.py is missing", "metrics/train is missing")
    assert first_by_dry_run(clean) == (stages[0] if sees else None)


def test_the_command_names_reasons_and_followers_and_ends_with_the_code_of_its_help(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("fetch.py", "1", "2")
    assert call() == 1
    assert capsys.readouterr().err.splitlines() == [
        "ERROR: fetch is out of date: fetch.py has changed; run `dvc repro fetch`",
        "ERROR: train comes after fetch; run `dvc repro train`",
        "ERROR: evaluate comes after train; run `dvc repro evaluate`",
        "`make repro` runs all of it; then commit dvc.lock and metrics/",
    ]
    command = ("python", "-m", "stages", "stale")
    warned = project.run(*command, "--warn", PYTHONPATH=str(ROOT))
    assert "WARNING: fetch is out of date" in warned.stderr
    refused = project.run(*command, "nonsense", check=False, PYTHONPATH=str(ROOT))
    assert refused.returncode == 2
    assert "nonsense: is no revision" in refused.stderr
    project.run("make", "repro")
    assert call() == 0
    assert capsys.readouterr().out == "dvc.lock belongs to the code and the params\n"
    Path("dvc.lock").unlink()
    assert call() == 1
    assert "ERROR: dvc.lock is missing\n`make repro` runs" in capsys.readouterr().err


def test_what_dvc_would_leave_in_the_lock_for_ever_is_told_with_what_removes_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("dvc.yaml", "params: [width, ", "params: [")
    assert stale_by_status(project.folder) == set()  # and `dvc repro` would do nothing
    assert call() == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "fetch is out of date: it reads width no more; run `dvc commit --force fetch`" in told
    with Repo() as repo:
        repo.commit("fetch", force=True)
    assert not stale_now()
    replace("dvc.yaml", "  evaluate:", "  measure:")
    with Repo() as repo:
        repo.reproduce()
    assert call() == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "evaluate is out of date: it is not in dvc.yaml; delete its entry" in told


def test_a_revision_is_checked_without_checking_it_out(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run("git", "switch", "--quiet", "--create", "half-done")
    replace("train.py", "1", "2")
    replace("libraries.yaml", "2.3.0", "2.3.1")
    project.commit("code without results")
    project.run("git", "switch", "--quiet", "main")
    assert call("main") == 0
    assert call("half-done") == 1
    (fetch, train, *_) = capsys.readouterr().err.splitlines()
    assert "fetch is out of date: libraries.yaml:numpy is 2.3.1 and was 2.3.0; run" in fetch
    assert "train is out of date: libraries.yaml:numpy is 2.3.1 and was 2.3.0, train.py" in train
    revision = find_revision("half-done")
    params = all_params(revision, revision.lock)
    assert params == {
        **flattened(revision.params),
        "libraries.yaml:keras": "3.15.1",
        "libraries.yaml:numpy": "2.3.1",
        "libraries.yaml:rich": "14.0.0",
    }
    changes = [
        each.what
        for entry in revision.lock.values()
        for each in changes_of(
            entry, {}, params, revision.md5, {"labels.bin", "raw.bin", "model.bin"}
        )
    ]
    assert changes == ["libraries.yaml:numpy", "libraries.yaml:numpy", "train.py"]


@pytest.mark.usefixtures("project")
def test_stale_seeds_are_told_and_are_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    header = "model,seed,computation,test_accuracy\n"
    Path("metrics/seeds.csv").write_text(f"{header}cnn,0,{'0' * 32},0.9\n")
    assert call() == 0
    told = capsys.readouterr()
    assert told.out == "dvc.lock belongs to the code and the params\n"
    assert told.err.startswith(
        "WARNING: metrics/seeds.csv: stale are cnn (1 of 1), of other code, "
    )
    assert told.err.count("\n") == 1
    Path("metrics/seeds.csv").write_text(header)
    assert call() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("dvc.lock", "stages:\n<<<<<<< HEAD\n  a:\n=======\n", r"line 2: a merge has left a conf"),
        ("dvc.lock", "schema: '2.0'\nstages: 3\nx:\n  a:\n", "is not a lock file of DVC"),
        ("dvc.lock", "\xff\xfe", "is not YAML"),
        ("params.yaml", "a: 1\n>>>>>>> theirs\n", r"line 2: a merge has left a conflict; mend it"),
        ("params.yaml", "width: 1\n", r"dvc\.yaml: failed to parse .* not find 'model\.kind'"),
        ("libraries.yaml", "numpy: 2.3.0\n", r"libraries\.yaml: keras: is missing, and dvc\.yaml"),
        ("dvc.yaml", "stages: {a: {deps: [x]}}", r"dvc\.yaml: stages\.a: has no `cmd`"),
        ("dvc.yaml", "stages: [a, b]", r"dvc\.yaml: is not as DVC takes it"),
        ("dvc.yaml", "vars: [none.yaml]\nstages: {}", r"dvc\.yaml: .*'none\.yaml' does not exist"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_file_that_cannot_be_read_is_one_line_that_says_what_to_do(
    name: str, content: str, told: str
) -> None:
    Path(name).write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=told) as raised:
        call("--warn")
    assert "\n" not in str(raised.value)
    if name == "dvc.lock":
        assert "take one side" in str(raised.value)


def test_a_merge_of_two_results_is_no_third_one_and_is_resolved_as_the_page_says(
    project: Project,
) -> None:
    for branch, old, new in (("main", "8, 8", "8, 9"), ("other", "width: 1", "width: 2")):
        project.run("git", "checkout", "--quiet", "-B", branch, "first")
        replace("params.yaml", old, new)
        with Repo() as repo:
            repo.checkout()
            repo.reproduce()
        project.commit(new)
    page = (ROOT / "docs" / "ci.md").read_text()
    _, _, section = page.partition("## When a merge conflicts in dvc.lock")
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block
    merge, *commands = block[1].splitlines()
    assert merge.split("#")[0].strip() == "git merge main"
    merged = project.run("git", "merge", "main", check=False)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in merged.stdout
    assert "<<<<<<<" not in Path("dvc.lock").read_text()
    assert stale_now()["train"].changes[0].kind is Kind.PARAM
    project.run("bash", "-ec", "\n".join(commands))
    assert not stale_now()
    assert stale_by_status(project.folder) == set()
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
    with Path("stages/models/cnn.py").open("a") as file:
        file.write("# another comment\n")
    started = time.process_time()
    found = stale_now()
    assert time.process_time() - started < 1
    assert {"train_cnn", "evaluate"} <= found.keys()
    assert first_by_dry_run(project.folder) in {name for name in found if found[name].changes}


def test_a_commit_may_come_before_its_results_and_a_push_may_not(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the commands: `stages` is not in this project
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv("SKIP", "ruff-check,ruff-format,dvc-pre-commit")  # are in test_hooks.py
    shutil.copy(ROOT / ".pre-commit-config.yaml", project.folder)
    Path(".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "venv", ".ci")
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
    # What is pushed counts, not what is checked out.
    project.run("git", "switch", "--detach", "hooked")
    assert not stale_now()
    pushed = project.run("git", "push", "origin", "main", check=False)
    assert pushed.returncode == 1
    assert "ERROR: fetch is out of date" in pushed.stdout + pushed.stderr
    project.run("git", "switch", "main")
    project.run("make", "repro")
    project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    project.run("git", "commit", "--all", "--message", "its results")
    replace("fetch.py", "2", "3")
    project.run("git", "push", "origin", "main")
    project.run("git", "checkout", "fetch.py")
    stored = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert len(stored) == 3  # what DVC keeps: labels.bin, raw.bin and model.bin
    project.run("git", "switch", "--detach", "hooked")
    assert Path("raw.bin").read_text() == "1\nSTEP = 1\nwidth: 1\n"
    assert stale_by_status(project.folder) == set()
    # A worktree, which has no environment and no data, has its hooks all the same.
    project.run("git", "worktree", "add", "../beside", "-b", "beside")
    beside = Project(tmp_path / "beside")
    committed = beside.run("git", "commit", "--allow-empty", "--message", "no change")
    assert "dvc.lock belongs to the code and the params" in committed.stderr


def test_what_a_colleague_has_pushed_is_pulled_and_not_computed_again(
    project: Project, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    project.run("dvc", "remote", "add", "--default", "storage", str(storage))
    project.run("dvc", "push")
    project.commit("a remote")
    (tmp_path / ".venv").mkdir()
    for name in ("requirements.lock", ".venv/.installed"):
        (tmp_path / name).touch()

    def called(*settings: str) -> str:
        """What `make repro` calls DVC with."""
        asked = ("make", "--dry-run", "--file", str(ROOT / "Makefile"), "repro", *settings)
        told = subprocess.check_output(asked, cwd=tmp_path, text=True)
        (line,) = [line for line in told.splitlines() if "dvc repro" in line]
        return line.replace(".venv/bin/", "")

    def ran_in(clone: str) -> list[str]:
        project.run("git", "clone", "--quiet", str(project.folder), str(tmp_path / clone))
        told = Project(tmp_path / clone).run("bash", "-c", called()).stdout
        return re.findall("Running stage '(.*?)'", told)

    assert ran_in("one") == []
    assert Path("model.bin").read_bytes() == (tmp_path / "one" / "model.bin").read_bytes()
    model = workspace().md5("model.bin") or ""
    (storage / "files" / "md5" / model[:2] / model[2:]).unlink()
    assert ran_in("another") == ["train"]
    assert called("FRESH=1").strip() == "dvc repro"


def test_a_clone_with_other_ends_of_lines_is_up_to_date(project: Project, tmp_path: Path) -> None:
    converting = ("git", "-c", "core.autocrlf=true", "clone", "--quiet")
    project.run(*converting, str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone.folder)
        assert not stale_now()
        # Only the data are missing.
        assert first_by_dry_run(clone.folder) is None
