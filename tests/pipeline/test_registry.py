"""The model registry: the best model is registered once, and only a good one is the champion."""

import mlflow
from mlflow.entities.model_registry import ModelVersion

from tests.pipeline.conftest import Project

NAME = "automobile-or-truck"


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
    assert "is below its floor 0.965" in version.tags["gate"]
    assert version.tags["md5"] == outs["data/models/mobilenet.npz"]
    assert version.tags["git.commit"] == commit
    assert version.tags["git.dirty"] == "false"
    for told in (commit, version.tags["md5"], "below its floor"):
        assert told in version.description


def test_the_champion_keeps_its_place_against_a_model_that_is_worse(tiny: Project) -> None:
    tiny.python("-m", "stages", "sync")
    (first,) = versions(tiny)
    assert first.aliases == ["champion"]
    assert first.tags["gate"] == "passed"

    tiny.set_params("baseline.learns_the_opposite=true", "gate.floors.baseline.accuracy=0")
    for stage in ("train_baseline", "evaluate"):  # as in `dvc exp run --name worse`
        tiny.python("steps.py", stage, DVC_EXP_NAME="worse", DVC_EXP_BASELINE_REV="0" * 40)
    kept, worse = versions(tiny)
    assert kept.aliases == ["champion"]
    assert worse.aliases == []
    assert worse.tags["gate"].startswith(
        "failed: brier 1.0000 is above its ceiling 0.9; worse than"
    )
    assert "the champion, version 1: of 40 test images" in worse.tags["gate"]
    assert "exact McNemar test" in worse.tags["gate"]
    assert worse.tags["dvc.exp_name"] == "worse"
    shown = tiny.python("-m", "stages", "lineage", kept.tags["md5"]).stdout
    assert f"registered: {NAME} 1 (champion); passed" in shown


def test_another_gate_runs_no_stage_again_and_sync_judges_by_it(tiny: Project) -> None:
    params = tiny.folder / "params.yaml"
    lenient = params.read_text()
    params.write_text(lenient.replace("brier: 0.9", "brier: -1"))
    tiny.commit("a gate that nothing passes")
    tiny.python("-m", "stages", "sync")
    (refused,) = versions(tiny)
    assert refused.aliases == []
    assert "is above its ceiling -1" in refused.tags["gate"]
    params.write_text(lenient)
    assert "up to date" in tiny.run("dvc", "repro").stdout
    tiny.python("-m", "stages", "sync")
    (accepted,) = versions(tiny)
    assert accepted.aliases == ["champion"]
    assert accepted.tags["gate"] == "passed"
