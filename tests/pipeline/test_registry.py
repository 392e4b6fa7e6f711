"""The model registry: the best model is registered once, and only a good one is the champion."""

from collections.abc import Callable

import mlflow
from mlflow.entities.model_registry import ModelVersion

from tests.pipeline.conftest import Project

MakeClone = Callable[[], Project]
NAME = "automobile-or-truck"
NO_FLOORS = [f"registry.floors.{name}=0" for name in ("accuracy", "precision", "recall", "roc_auc")]
# A network that has learned next to nothing, so that another model is the best of its evaluation.
UNTRAINED = ["-S", "mobilenet.learning_rate=1e-9", "-S", "mobilenet.head_learning_rate=1e-9"]


def versions(project: Project) -> list[ModelVersion]:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    found = client.search_model_versions(f"name = '{NAME}'")
    return sorted(
        (client.get_model_version(NAME, each.version) for each in found),
        key=lambda each: int(each.version),
    )


def test_a_model_below_a_floor_is_registered_without_the_alias_and_says_why(
    finished_project: Project,
) -> None:
    (version,) = versions(finished_project)
    outs = {o["path"]: o["md5"] for o in finished_project.locked()["finetune_mobilenet"]["outs"]}
    commit = finished_project.run("git", "rev-parse", "HEAD~1").stdout.strip()
    assert version.aliases == []
    assert version.tags["gate"].startswith("failed: accuracy 0.")
    assert "is below its floor 0.95" in version.tags["gate"]
    assert version.tags["md5"] == outs["data/models/mobilenet.npz"]
    assert version.tags["git.commit"] == commit
    assert version.tags["git.dirty"] == "false"
    for told in (commit, version.tags["md5"], "below its floor"):
        assert told in version.description


def test_the_champion_keeps_its_place_against_a_model_that_is_worse(clone: MakeClone) -> None:
    project = clone()
    project.set_params(*NO_FLOORS)
    project.run("dvc", "repro", "evaluate")
    (first,) = versions(project)
    assert first.aliases == ["champion"]
    assert first.tags["gate"] == "passed"
    project.commit("no floors")

    project.run("dvc", "exp", "run", "--temp", "--name", "worse", *UNTRAINED)
    kept, worse = versions(project)
    assert kept.aliases == ["champion"]
    assert worse.aliases == []
    assert worse.tags["gate"].startswith("failed: worse than the champion, version 1: of 120 test")
    assert "exact McNemar test" in worse.tags["gate"]
    assert worse.tags["model"] == "data/models/baseline.npz"  # the best that is left
    shown = project.run("python", "-m", "stages.commands.lineage", kept.tags["md5"]).stdout
    assert f"registered: {NAME} 1 (champion); passed" in shown
