"""The hooks of Git: what they refuse, and that they need nothing but the project's environment."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Project, copy_working_tree

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION: dict[str, Any] = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The working tree as a new repository, with a link to the environment that runs this."""
    project = Project(tmp_path / "project")
    copy_working_tree(project, with_results=True)
    (project.folder / ".venv").symlink_to(sys.prefix)  # never run `make` beside such a link
    (project.folder / ".git/info/exclude").write_text(".venv\n")
    project.commit("all")
    return project


def test_no_hook_brings_a_version_of_its_own() -> None:
    (repository,) = CONFIGURATION["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert ".ci/venv " in hook["entry"], hook


def test_all_hooks_pass_without_a_network(project: Project, tmp_path: Path) -> None:
    # mypy needs 20 s where it has no cache; `make lint` runs it with the same settings.
    environment = {**NO_NETWORK, "PRE_COMMIT_HOME": str(tmp_path / "home"), "SKIP": "mypy"}
    for stage in ("pre-commit", "pre-push"):
        ran = project.run(
            *("pre-commit", "run", "--all-files", "--hook-stage", stage),
            check=False,
            **environment,
        )
        failed = [line for line in ran.stdout.splitlines() if line.endswith("Failed")]
        # Between a change and its run the lock is out of date, and a push is refused.
        assert all("dvc.lock belongs to the code" in line for line in failed), ran.stdout
    assert not [path for path in (tmp_path / "home").iterdir() if path.is_dir()]  # nothing fetched


def test_a_commit_of_params_that_are_not_legal_is_refused(project: Project, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    project.run("pre-commit", "install", "--allow-missing-config", PRE_COMMIT_HOME=home)
    project.set_params("cnn.default.epochs=0")
    refused = project.run(
        *("git", "commit", "--all", "--message", "no epochs"), check=False, PRE_COMMIT_HOME=home
    )
    assert refused.returncode == 1
    assert "params.yaml: cnn.default.epochs: 0 is not allowed" in refused.stderr
    assert "a whole number from 1 to 1000" in refused.stderr
    assert "no epochs" not in project.run("git", "log", "--format=%s").stdout


def test_the_small_run_heeds_neither_the_users_git_nor_a_hook_nor_a_larger_repository(
    tmp_path: Path,
) -> None:
    # A pipeline in the place of the project's: what differs is how it is copied and committed.
    project = Project(tmp_path / "larger" / "project")
    (project.folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "smoke", project.folder / ".ci")
    shutil.copy(ROOT / "params.yaml", project.folder)
    out = "{cmd: 'cat params.yaml new > out', deps: [new], params: [data], outs: [out]}"
    (project.folder / "dvc.yaml").write_text(f"stages: {{a: {out}}}")
    (project.folder / "stages.py").write_text("print(open('out').read())")
    (project.folder / "stages.pyc").touch()
    project.run("git", "init", "--quiet", "..")
    project.run("dvc", "init", "--subdir", "--quiet")
    project.commit("the project")
    (project.folder / "new").write_text("not committed yet")
    (project.folder / "stages.pyc").unlink()
    before = project.git_status()
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks" / "pre-commit").chmod(0o755)
    (tmp_path / "ignored").write_text("*.yaml\n")
    (tmp_path / "settings").write_text(
        "[commit]\n  gpgsign = true\n[gpg]\n  program = /none\n"
        f"[core]\n  hooksPath = {tmp_path / 'hooks'}\n  excludesFile = {tmp_path / 'ignored'}\n"
        f"[init]\n  templateDir = {tmp_path}\n  defaultBranch = trunk\n"
    )
    ran = project.run(
        ".ci/smoke",
        GIT_CONFIG_GLOBAL=str(tmp_path / "settings"),
        GIT_DIR=str(tmp_path / "larger" / ".git"),
        GIT_WORK_TREE=str(tmp_path / "larger"),
        GIT_PREFIX="project/",
    )
    assert "limit_per_class: 750" in ran.stdout
    assert "not committed yet" in ran.stdout
    assert project.git_status() == before
    assert not project.experiments()
