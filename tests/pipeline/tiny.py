"""A tiny DVC project for tests of tracking: real Git, DVC and MLflow, a few seconds a run.

Its stages have names and paths of the real ones, so that models, test metrics, pictures and the
registry are there: 40 images, a least-squares model, and loops that pretend to be epochs.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest
from filelock import FileLock

from tests.raw_files import ROOT

if TYPE_CHECKING:
    from tests.pipeline.conftest import Project

SWEEP = [1, 2, 3]  # of baseline.ridge
MODEL = "data/models/baseline.npz"
EMPTY = "empty.db"  # MLflow makes one in a second
PIPELINE = """\
stages:
  prepare:
    cmd: python steps.py prepare
    deps: [steps.py]
    params: [data]
    outs: [data/prepared/train.npz, data/prepared/validation.npz, data/prepared/test.npz]
  train_baseline:
    cmd: python steps.py train_baseline
    deps: [data/prepared/train.npz, data/prepared/validation.npz, steps.py]
    params: [baseline, {libraries.yaml: [numpy]}]
    outs: [data/models/baseline.npz]
    # Not `outs`: with such that Git keeps, DVC would not take the stage from its run cache.
    plots:
      - metrics/train_baseline.json: {cache: false}
      - metrics/curves.csv: {cache: false}
      - metrics/figures/weights.png: {cache: false}
  evaluate:
    cmd: python steps.py evaluate
    deps:
      - data/models/baseline.npz
      - data/prepared/test.npz
      - metrics/train_baseline.json
      - steps.py
    params: [evaluation]
    outs:
      - metrics/predictions.csv: {cache: false}
      - metrics/roc: {cache: false}
    metrics: [metrics/summary.json: {cache: false}]
    plots: [metrics/evaluate.json: {cache: false}]
  draw:
    cmd: python steps.py draw
    deps: [metrics/predictions.csv, steps.py]
    plots: [metrics/drawn: {cache: false}]
artifacts:
  baseline: {path: data/models/baseline.npz, type: model}
"""
PARAMS = """\
data: {seed: 0, limit_per_class: null}
baseline: {ridge: 0, epochs: 2, mistakes: 0}  # on so many of the 40 test images
evaluation: {draws: 1}
registry: {select_by: validation.accuracy, margin: 0.03}
gate:
  alpha: 0.05
  max_accuracy_loss: 0.005
  max_brier_rise: 0.002
  floors:
    baseline: {accuracy: 0.5}
  ceilings:
    baseline: {brier: 0.9}
"""
STEPS = """\
# The stages of a tiny project; PAUSE is how many seconds an epoch takes.
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from stages.data.files import read_arrays, write_arrays, write_csv, write_json
from stages.models.storage import StoredModel, read_model, save_model
from stages.tracking.run import track_stage

CLASSES = ["automobile", "truck"]
MODEL = Path("data/models/baseline.npz")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ff"
    "ff3f0005fe02fedccc59e70000000049454e44ae426082"
)


def picture(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(PIXEL)


def accuracy(weights, data):
    gray = data["images"].mean(axis=3).reshape(len(data["images"]), -1) / 255
    answers = (gray - 0.5).mean(axis=1) * weights[0, 1] > 0
    return answers.astype(int), float((answers == data["labels"]).mean())


def prepare(params, log_epoch):
    generator = np.random.default_rng(params["data"]["seed"])
    for split in ("train", "validation", "test"):
        labels = np.arange(40) % 2  # dark and bright
        noise = generator.integers(0, 100, (40, 32, 32, 3))
        images = (noise + 155 * labels[:, None, None, None]).astype(np.uint8)
        write_arrays(Path(f"data/prepared/{split}.npz"), {"images": images, "labels": labels})


def train_baseline(params, log_epoch):
    params = params["baseline"]
    curves = []
    for epoch in range(1, params["epochs"] + 1):
        curves.append({"epoch": epoch, "validation_loss": 1 / epoch})
        log_epoch(epoch, {"validation_loss": 1 / epoch})
        time.sleep(float(os.environ.get("PAUSE", "0.05")))
    weights = np.tile([-1.0, 1.0], (1024, 1)) / (1024 + params["ridge"])
    stored = StoredModel(
        "baseline",
        CLASSES,
        {"photo_size": 32, "temperature": 1.0, "sure_from": 0.9},
        {
            "weights": weights,
            "intercept": np.array([0.5, -0.5]),
            "mistakes": np.array(params["mistakes"]),
        },
    )
    save_model(MODEL, SimpleNamespace(to_stored=lambda: stored))
    measured = {
        split: {"accuracy": accuracy(weights, read_arrays(Path(f"data/prepared/{split}.npz")))[1]}
        for split in ("train", "validation")
    }
    write_json(Path("metrics/train_baseline.json"), measured)
    write_csv(Path("metrics/curves.csv"), pd.DataFrame(curves))
    picture("metrics/figures/weights.png")


def evaluate(params, log_epoch):
    data = read_arrays(Path("data/prepared/test.npz"))
    model = read_model(MODEL).arrays
    answers, _ = accuracy(model["weights"], data)
    answers[: model["mistakes"]] ^= 1
    share = float((answers == data["labels"]).mean())
    measured = {"accuracy": share, "brier": 1 - share}
    write_json(Path("metrics/evaluate.json"), {"baseline": measured})
    trained = json.loads(Path("metrics/train_baseline.json").read_text())
    headline = {"base_val": trained["validation"]["accuracy"], "base_test": share}
    write_json(Path("metrics/summary.json"), headline)
    names = np.array(CLASSES)
    table = pd.DataFrame({"actual": names[data["labels"]], "baseline": names[answers]})
    table.insert(0, "index", range(len(table)))
    for label, name in enumerate(CLASSES):
        table[f"baseline_{name}"] = np.where(answers == label, 0.9, 0.1)
    write_csv(Path("metrics/predictions.csv"), table)
    write_csv(Path("metrics/roc/baseline.csv"), pd.DataFrame({"false_positive_rate": [0.0, 1.0]}))


def draw(params, log_epoch):
    for name in ("accuracy", "baseline_mistakes"):
        picture(f"metrics/drawn/{name}.png")


if __name__ == "__main__":
    stage = sys.argv[1]
    params = YAML(typ="safe").load(Path("params.yaml"))
    with track_stage(stage) as tracker:
        globals()[stage](params, tracker.log_epoch)
"""


def _make(project: "Project") -> None:
    project.folder.mkdir(parents=True)
    # In its Git, for copies of the project: MLflow keeps the library with each model.
    (project.folder / "stages").symlink_to(ROOT / "stages")
    for name, content in (
        ("dvc.yaml", PIPELINE),
        ("params.yaml", PARAMS),
        ("libraries.yaml", "numpy: 2.0.0\n"),
        ("pyproject.toml", '[project]\nname = "car-or-truck"\n'),
        ("steps.py", STEPS),
        (".gitignore", "/logs/\n/mlflow.*\n/mlartifacts\n__pycache__/\n/data/\n"),
    ):
        (project.folder / name).write_text(content)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "init", "--quiet")
    config = f"[core]\nautostage = false\n[cache]\ndir = {project.folder.parent / 'cache'}\n"
    (project.folder / ".dvc" / "config").write_text(config)
    project.commit("the project")
    # What `dvc repro` does, sooner.
    for stage in ("prepare", "train_baseline", "evaluate", "draw"):
        project.python("steps.py", stage)
    project.run("dvc", "commit", "--force", "--quiet")
    project.commit("results")
    mlflow.MlflowClient(f"sqlite:///{project.folder.parent / EMPTY}")


@pytest.fixture(scope="session")
def tiny_origin(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> "Project":
    """The tiny project in which its pipeline has run; made once for all processes of the tests."""
    from tests.pipeline.conftest import Project

    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    project = Project(shared / "tiny" / "project")
    with FileLock(shared / "tiny.lock"):
        if not (shared / "tiny.done").exists():
            _make(project)
            (shared / "tiny.done").touch()
    return project


def copy_of(original: "Project", folder: Path) -> "Project":
    """What `git clone` and `dvc checkout` would give: all files, and no MLflow store."""
    from tests.pipeline.conftest import Project

    unlike_a_clone = shutil.ignore_patterns(
        *("mlflow.*", "mlartifacts", "logs", "mirror", "config.local")
    )
    shutil.copytree(original.folder, folder, symlinks=True, ignore=unlike_a_clone)
    return Project(folder)


@pytest.fixture
def tiny_named(tiny_origin: "Project", tmp_path: Path) -> Callable[[str], "Project"]:
    """Make a copy of the tiny project under a name, with an empty MLflow store."""

    def make(name: str) -> "Project":
        project = copy_of(tiny_origin, tmp_path / name)
        shutil.copy(tiny_origin.folder.parent / EMPTY, project.folder / "mlflow.db")
        return project

    return make


@pytest.fixture
def tiny(tiny_named: Callable[[str], "Project"]) -> "Project":
    """A copy of the tiny project."""
    return tiny_named("tiny")


@pytest.fixture(scope="session")
def swept(tiny_origin: "Project", tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """A copy in which a grid was run from a queue by two workers, on a new database."""
    project = copy_of(tiny_origin, tmp_path_factory.mktemp("swept") / "project")
    assert not (project.folder / "mlflow.db").exists()
    grid = f"baseline.ridge={','.join(map(str, SWEEP))}"
    project.run("dvc", "exp", "run", "--queue", "-S", grid)
    # Its workers would hold on to its output, and one of them may sleep on when all is done.
    project.run("bash", "-c", "dvc queue start --jobs 2 > /dev/null 2>&1")
    deadline = time.monotonic() + 300
    while len(project.experiments()) < len(SWEEP):
        assert time.monotonic() < deadline, project.run("dvc", "queue", "status").stdout
        time.sleep(0.5)
    return project
