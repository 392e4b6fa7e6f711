"""Projects to try things in: real Git, DVC and MLflow, on a small cut of the real data.

The pipeline is run once; each test gets a clone of that project with its own Git repository,
workspace and MLflow database, and shares DVC's cache with the others.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright
from ruamel.yaml import YAML

from stages.data.cifar10_sources import SOURCES
from stages.data.mobilenet_weights import WHEEL
from tests.committed import RESULTS, copy_committed_results
from tests.pipeline import warm
from tests.pipeline.foreign import foreign  # noqa: F401  # a fixture
from tests.pipeline.tiny import swept, tiny, tiny_named, tiny_origin  # noqa: F401  # fixtures
from tests.raw_files import ROOT, raw_file

SMALL = [
    "data.limit_per_class=60",
    "cnn.default.epochs=2",
    "mobilenet.epochs=1",
    "mobilenet.head_epochs=1",
    "mobilenet.input_size=64",
    "mobilenet.first_trainable_block=16",
    "audit.input_size=32",
    "evaluation.robustness_images=20",
]

WATCH = Path(__file__).parent / "watch"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first a test that makes the finished project, then those that do not need it.

    So one process makes it and the other has something to do. Of those that need it, groups go
    first: one process runs a whole group, and the other should not be done long before it.
    """
    needing = [each for each in items if _needs_finished_project(each)]
    others = [each for each in items if not _needs_finished_project(each)]
    needing.sort(key=_is_in_group)  # to begin with one that is not
    groups_first = sorted(needing[1:], key=_is_in_group, reverse=True)
    items[:] = [*needing[:1], *others, *groups_first]


def _needs_finished_project(item: pytest.Item) -> bool:
    return "finished_project" in getattr(item, "fixturenames", ()) or _is_in_group(item)


def _is_in_group(item: pytest.Item) -> bool:
    return item.get_closest_marker("xdist_group") is not None


@dataclass(frozen=True)
class Project:
    """A checkout of the project in a folder of its own."""

    folder: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> Any:
        """Run a program in the project, as a user would with its virtual environment."""
        finished = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            text=True,
            capture_output=True,
            check=False,
        )
        return _checked(finished) if check else finished

    def python(self, *arguments: str, check: bool = True, **environment: str) -> Any:
        """What `run("python", …)` does, sooner (see warm.py)."""
        finished = warm.python(arguments, self.folder, self.environment(**environment))
        return _checked(finished) if check else finished

    def environment(self, **more: str) -> dict[str, str]:
        """The user's environment, with nothing that points DVC, MLflow or S3 elsewhere."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "DVC_", "AWS_", "PYTEST_"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "DVC_NO_ANALYTICS": "1", **more}

    def commit(self, message: str) -> None:
        """Commit all that Git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def set_params(self, *settings: str) -> None:
        """Change params.yaml; each setting as `section.key=value`."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        values = yaml.load(path.read_text())
        for setting in settings:
            keys, value = setting.split("=")
            section = values
            *parents, key = keys.split(".")
            for parent in parents:
                section = section[parent]
            section[key] = yaml.load(value)
        with path.open("w") as file:
            yaml.dump(values, file)

    def locked(self) -> dict[str, Any]:
        """The stages of dvc.lock."""
        lock: dict[str, Any] = YAML(typ="safe").load((self.folder / "dvc.lock").read_text())
        return lock["stages"]

    def git_status(self) -> str:
        """What differs from the last commit; empty if nothing does."""
        return str(self.run("git", "status", "--porcelain").stdout)

    def experiments(self) -> set[str]:
        """Names of the DVC experiments."""
        listed = self.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/").stdout
        return set(re.findall(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(\S+)", listed))

    def runs(self) -> list[mlflow.entities.Run]:
        """Runs of stages in the project's database, the oldest first."""
        return [run for run in self.all_runs() if "stage" in run.data.tags]

    def summaries(self) -> dict[str, mlflow.entities.Run]:
        """Summary runs, by the name of their revision."""
        found = [run for run in self.all_runs() if "dvc.summary" in run.data.tags]
        by_name = {run.data.tags["revision"]: run for run in found}
        assert len(by_name) == len(found), "a revision has two summaries"
        return by_name

    def all_runs(self) -> list[mlflow.entities.Run]:
        """All runs in the project's database, the oldest first."""
        client = mlflow.MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        experiments = [each.experiment_id for each in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def run_stages(project: Project, stages: Iterable[str], **environment: str) -> Any:
    """Run stages in one process, which imports TensorFlow once; DVC would start one for each."""
    code = f"from stages.__main__ import run_stage\nfor stage in {list(stages)}: run_stage(stage)"
    return project.run("python", "-c", code, **environment)


def _checked(finished: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    if finished.returncode:
        pytest.fail(f"{finished.args} failed:\n{finished.stdout}\n{finished.stderr}")
    return finished


def watched(project: Project) -> dict[str, str]:
    """The environment in which the project's stages note what they write (see watch/)."""
    return {"PYTHONPATH": str(WATCH), "WATCH_LOG": str(project.folder.parent / "written")}


def link_raw_files(project: Project) -> None:
    raw = project.folder / "data" / "raw"
    raw.mkdir(parents=True)
    for source in (SOURCES["npm"], WHEEL):
        (raw / source.filename).symlink_to(raw_file(source))


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """The working tree's files as a new repository, in which the whole pipeline has run.

    It is made once for all processes of the tests; who comes later waits for it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    project = Project(shared / "origin" / "project")
    with FileLock(shared / "origin.lock"):
        if not (shared / "origin.done").exists():
            _make_finished(project)
            (shared / "origin.done").touch()
    return project


def _make_finished(project: Project) -> None:
    copy_working_tree(project, with_results=False)
    project.run("dvc", "cache", "dir", str(project.folder.parent / "cache"))
    project.run("dvc", "config", "cache.type", "hardlink,copy")
    project.set_params(*SMALL)
    link_raw_files(project)
    project.commit("the project")
    project.run("dvc", "repro", **watched(project))
    project.commit("results")


def copy_working_tree(project: Project, *, with_results: bool) -> None:
    """Make the working tree's files a new Git repository, nothing committed yet.

    Results are those of the last commit: what `make repro` left in the working tree depends on the
    machine.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name.split("/")[0] not in RESULTS:
            (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project.folder / name)
    if with_results:
        scratch = project.folder.parent / "committed"
        copy_committed_results(project.folder, scratch)
    project.run("git", "init", "--quiet", "--initial-branch", "main")


def _clone(original: Project, folder: Path) -> Project:
    """What `git clone` and `dvc checkout` would give, in a tenth of the time.

    Data are hard links, as those are which DVC makes here: whoever writes one anew, as DVC and the
    stages do, leaves the others as they are.
    """

    def link_data(source: str, target: str) -> None:
        is_data = Path(source).is_relative_to(original.folder / "data")
        (os.link if is_data else shutil.copy2)(source, target)

    unlike_a_clone = shutil.ignore_patterns(
        *("mlflow.*", "mlartifacts", "logs", "mirror", "config.local")
    )
    shutil.copytree(
        *(original.folder, folder),
        symlinks=True,
        ignore=unlike_a_clone,
        copy_function=link_data,
    )
    return Project(folder)


@pytest.fixture
def clone_named(finished_project: Project, tmp_path: Path) -> Callable[[str], Project]:
    """Make a clone of the finished project with all its files, and an empty MLflow store."""
    return lambda name: _clone(finished_project, tmp_path / name)


@pytest.fixture
def clone(clone_named: Callable[[str], Project]) -> Callable[[], Project]:
    """Make a clone of the finished project, as `clone_named` does."""
    return lambda: clone_named("clone")


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium as it is installed; without it the test is skipped, but not in CI."""
    found = [shutil.which(name) for name in ("chromium", "google-chrome", "chromium-browser")]
    program = next(filter(None, found), None)
    if program is None:
        what = "no Chromium is installed (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
