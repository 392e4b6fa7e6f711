"""What the bridge between DVC and MLflow stands on: identity by content, and names that fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.tracking import environment, registry, store, tags
from stages.tracking.outputs import content_of
from stages.tracking.run import entry_now
from stages.workflow.pipeline import LockEntry, lock_entries
from stages.workflow.revisions import workspace

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    deps:
    - path: data/train.npz
      hash: md5
      md5: '0123'
      size: 5
    params:
      params.yaml:
        cnn.default:
          learning_rate: 1e-05
          filters:
          - 32
          - 64
      libraries.yaml:
        keras: 3.15.1
    outs:
    - path: data/models/cnn.npz
      hash: md5
      md5: '4567'
      size: 7
  evaluate:
    cmd: python -m stages.evaluate
    deps:
    - path: data/models/cnn.npz
      hash: md5
      md5: '4567'
"""
TRAIN = LockEntry(
    "train",
    {
        "cnn.default.learning_rate": 1e-5,
        "cnn.default.filters": [32, 64],
        "libraries.yaml:keras": "3.15.1",
    },
    {"data/train.npz": "0123"},
    {"data/models/cnn.npz": "4567"},
)


def test_a_lock_file_is_read_entry_by_entry() -> None:
    entries = lock_entries(lambda _: LOCK.encode())
    assert list(entries) == ["train", "evaluate"]
    assert entries["train"] == TRAIN
    assert entries["evaluate"].outs == {}
    assert lock_entries(lambda _: b"schema: '2.0'\nstages: {}\n") == {}


def test_a_lock_file_with_a_conflict_is_refused_with_advice() -> None:
    conflict = LOCK.replace(
        "    outs:", "<<<<<<< ours\n    outs:\n=======\n    outs:\n>>>>>>> theirs"
    )
    with pytest.raises(UserError, match=r"dvc\.lock: line 19: a merge has left .* `make repro`"):
        lock_entries(lambda _: conflict.encode())


@pytest.mark.parametrize(
    "other",
    [
        LockEntry("test", TRAIN.params, TRAIN.deps, TRAIN.outs),
        LockEntry("train", {**TRAIN.params, "seed": 1}, TRAIN.deps, TRAIN.outs),
        LockEntry("train", TRAIN.params, {"data/train.npz": "9"}, TRAIN.outs),
        LockEntry("train", TRAIN.params, TRAIN.deps, {"data/models/cnn.npz": "9"}),
    ],
)
def test_computations_that_differ_in_anything_have_different_keys(other: LockEntry) -> None:
    assert other.key != TRAIN.key


def test_the_order_of_entries_does_not_change_what_a_computation_is() -> None:
    params = dict(reversed(TRAIN.params.items()))
    assert LockEntry("train", params, TRAIN.deps, TRAIN.outs).key == TRAIN.key


def test_what_a_stage_reads_and_writes_now_may_be_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(
        "stages: {a: {cmd: mkdir out; cp in/file out, deps: [in], outs: [out], params: [x]}}"
    )
    Path("params.yaml").write_text("x: {y: 1e-3, z: [1, 2]}")
    Path("in").mkdir()
    Path("in/file").write_text("content")
    for command in (("init", "--no-scm"), ("repro",)):
        subprocess.run(["dvc", *command, "--quiet"], check=True)
    recorded = workspace().lock["a"]
    assert entry_now("a", with_outs=True) == recorded
    assert recorded.outs["out"].endswith(".dir")
    assert content_of(workspace(), "out", recorded.outs["out"]) == {"out/file": b"content"}


def test_a_writer_that_lives_is_known_from_one_that_is_gone_or_elsewhere() -> None:
    host, pid, start = tags.this_process().split()
    assert not tags.writer_is_gone(f"{host} {pid} {start}")
    assert tags.writer_is_gone(f"{host} {pid} {int(start) - 1000}")  # its number was given anew
    assert tags.writer_is_gone(f"{host} {2**22 + 1} {start}")
    assert not tags.writer_is_gone(f"elsewhere-{host} {pid} {start}")  # cannot be known


def test_settings_of_the_environment_that_would_mislead_mlflow_are_put_right() -> None:
    code = (
        "import os; from stages.tracking import environment as e; e.prepare_environment();"
        "print(os.environ.get('MLFLOW_RUN_ID'), os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MLFLOW_RUN_ID": "another"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert finished.stdout.split() == ["None", "true"]


def test_what_runs_a_stage_does_not_import_mlflow() -> None:
    code = "import sys, stages.tracking.run; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_password_in_the_address_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "https://ada:secret@mlflow.example.org/x"
    monkeypatch.setattr(environment, "URI_OF_USER", uri)
    assert environment.shown_uri() == "https://mlflow.example.org/x"


def test_a_registry_without_the_model_or_without_a_champion_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(store, "client", lambda: client)
    assert registry.champion_of("automobile-or-truck") is None
    client.create_registered_model("automobile-or-truck")
    assert registry.champion_of("automobile-or-truck") is None


def test_a_registry_that_does_not_answer_is_an_error_and_crowns_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = store.mlflow.MlflowClient("http://127.0.0.1:9")
    monkeypatch.setattr(store, "client", lambda: client)
    with pytest.raises(store.MlflowException) as failed:
        registry.champion_of("automobile-or-truck")
    assert failed.value.error_code == "INTERNAL_ERROR"
