"""Names that MLflow does not take as they are: what is stored under one is found again by it."""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stages.data.errors import UserError
from stages.tracking import car_or_truck, environment, outputs, store, tags
from stages.tracking.lineage import Lineage
from stages.tracking.sync import sync
from stages.workflow.pipeline import md5_of
from tests.code.test_revisions import git

PIPELINE = """\
stages:
  fit:
    cmd: fit
    params: [rate@1]
    outs: [w@1.bin]
    metrics: [scores.json]
    plots: ["a, b.csv"]
  test:
    cmd: test
    deps: [w@1.bin]
    metrics: [tested.json]
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "params.yaml": "rate@1: 3\n",
    "w@1.bin": "weights",
    "scores.json": '{"loss": {"test@1": 2.5}}',
    "a, b.csv": "a,b\n1,2\n",
    "tested.json": '{"w@1": {"f1": 0.25}}',
}


def entry(path: str) -> dict[str, str]:
    return {"path": path, "md5": md5_of(FILES[path].encode())}


LOCK: dict[str, Any] = {
    "schema": "2.0",
    "stages": {
        "fit": {
            "cmd": "fit",
            "params": {"params.yaml": {"rate@1": 3}},
            "outs": [entry(path) for path in ("w@1.bin", "scores.json", "a, b.csv")],
        },
        "test": {"cmd": "test", "deps": [entry("w@1.bin")], "outs": [entry("tested.json")]},
    },
}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.mlflow.MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def _project(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working directory: such a project, with an MLflow store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(environment, "URI_OF_USER", "")
    monkeypatch.setattr(outputs, "_dvc_cache", lambda: tmp_path / "cache")
    for name in ("client", "experiment_id"):
        anew = functools.cache(getattr(store, name).__wrapped__)
        monkeypatch.setattr(store, name, anew)
    for path, content in FILES.items():
        Path(path).write_text(content)
    Path("dvc.lock").write_text(json.dumps(LOCK))
    shutil.copy(empty_store, "mlflow.db")
    git("init", "--quiet")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
    yield
    store.mlflow.set_tracking_uri(None)


def shown(what: str) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(Lineage().of(what), markup=False)
    return captured.get()


def test_a_file_that_turns_up_completes_its_run_and_nothing_is_there_twice(tmp_path: Path) -> None:
    plot = tmp_path / "a, b.csv"
    plot.rename("away")
    assert sync(is_ours=False).missing == {entry("a, b.csv")["md5"]: "a, b.csv"}
    assert not sync(is_ours=False).done["completed"]
    Path("away").rename(plot)
    assert sync(is_ours=False).done["completed"] == 1
    assert not sync(is_ours=False).done["completed"]
    (run,) = store.find_runs({tags.STAGE: "fit"})
    history = store.client().get_metric_history(run.info.run_id, "loss.test_1")
    assert [each.value for each in history] == [2.5]
    assert run.data.params == {"rate_1": "3"}


def test_a_run_that_lists_what_it_lacks_as_earlier_versions_did_is_completed() -> None:
    sync(is_ours=False)
    (run,) = store.find_runs({tags.STAGE: "fit"})
    store.log(run.info.run_id, tags={tags.MISSING: "scores.json, w@1.bin"})
    assert sync(is_ours=False).done["completed"] == 1
    (run,) = store.find_runs({tags.STAGE: "fit"})
    assert tags.MISSING not in run.data.tags


def test_what_a_model_measured_is_told_once_to_its_run() -> None:
    run = store.start_run("fit", "fit", {tags.STAGE: "fit"}, 0)
    for _ in range(2):
        car_or_truck._add_test_metrics(run, {"f1@1": 0.5})
        run = store.client().get_run(run.info.run_id)
    assert len(store.client().get_metric_history(run.info.run_id, "test.f1_1")) == 1


def test_runs_lead_to_a_file_and_from_it_whether_or_not_dvc_still_knows_them() -> None:
    sync(is_ours=False)
    md5 = entry("w@1.bin")["md5"]
    (made,) = store.find_runs({f"{tags.OUT}w@1.bin": md5})
    assert made.data.tags[tags.STAGE] == "fit"
    (measured,) = store.find_runs({f"{tags.DEP}w@1.bin": md5})
    told = f"measured by run {measured.info.run_id}: w_1.f1 0.2500"
    assert told in shown("w@1.bin")
    of_fit = {**LOCK, "stages": {"fit": LOCK["stages"]["fit"]}}
    Path("dvc.lock").write_text(json.dumps(of_fit))
    assert "made by stage fit" in shown(measured.info.run_id)
    Path("dvc.lock").unlink()
    assert "made by stage fit" in shown(measured.info.run_id)
    assert told in shown(md5)


def test_an_empty_name_is_told_to_be_none() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "all")
    with pytest.raises(UserError, match="is no revision"):
        Lineage().of("")
