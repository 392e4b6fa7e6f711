"""What the bridge between DVC and MLflow stands on: identity by content, and names that fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.tracking.declared import (
    StageRecord,
    differences,
    record_now,
    records_in,
    with_outputs,
)
from stages.tracking.environment import (
    experiment_tags,
    membership_tag,
    process_tag,
    shown_uri,
    writer_is_gone,
)

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
TRAIN = StageRecord(
    "train",
    {"cnn.default.learning_rate": 1e-5, "cnn.default.filters": [32, 64]},
    {"data/train.npz": "0123"},
    {"data/models/cnn.npz": "4567"},
)


def test_a_lock_file_is_read_entry_by_entry() -> None:
    records = records_in(LOCK)
    assert list(records) == ["train", "evaluate"]
    assert records["train"] == TRAIN
    assert records["evaluate"].outs == {}
    assert records_in("schema: '2.0'\nstages: {}\n") == {}


def test_a_lock_file_with_a_conflict_is_refused_with_advice() -> None:
    conflict = LOCK.replace(
        "    outs:", "<<<<<<< ours\n    outs:\n=======\n    outs:\n>>>>>>> theirs"
    )
    with pytest.raises(UserError, match=r"dvc\.lock: is not a lock file of DVC .* `dvc repro`"):
        records_in(conflict)


@pytest.mark.parametrize(
    "other",
    [
        StageRecord("test", TRAIN.params, TRAIN.deps, TRAIN.outs),
        StageRecord("train", {**TRAIN.params, "seed": 1}, TRAIN.deps, TRAIN.outs),
        StageRecord("train", TRAIN.params, {"data/train.npz": "9"}, TRAIN.outs),
        StageRecord("train", TRAIN.params, TRAIN.deps, {"data/models/cnn.npz": "9"}),
    ],
)
def test_computations_that_differ_in_anything_have_different_keys(other: StageRecord) -> None:
    assert other.key != TRAIN.key


def test_the_order_of_entries_does_not_change_what_a_computation_is() -> None:
    params = dict(reversed(TRAIN.params.items()))
    assert StageRecord("train", params, TRAIN.deps, TRAIN.outs).key == TRAIN.key


def test_differences_name_files_and_params() -> None:
    later = StageRecord("train", {"cnn.default.filters": [32, 64]}, {"a.py": "1"}, {})
    assert differences(TRAIN, later) == ["a.py", "data/train.npz", "cnn.default.learning_rate"]
    assert differences(TRAIN, TRAIN) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("data: [1, 2", "params.yaml: cannot be read ("),
        ("data: {}", "params.yaml: data.classes: is"),
    ],
)
def test_params_that_are_broken_while_a_stage_runs_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {cmd: x, params: [data.classes]}}")
    Path("params.yaml").write_text("data: {classes: [a, b]}")
    started = record_now("train")
    Path("params.yaml").write_text(content)
    with pytest.raises(UserError, match=re.escape(reason)):
        with_outputs(started)


def test_names_of_experiments_fit_into_keys_of_tags() -> None:
    assert membership_tag("muddy-otter") == "dvc.exp.muddy-otter"
    assert membership_tag("a+b@c") == "dvc.exp.a_b_c"
    assert experiment_tags("", "") == {}
    assert experiment_tags("x", "c0")["dvc.exp.x"] == "c0"


def test_a_writer_that_lives_is_known_from_one_that_is_gone_or_elsewhere() -> None:
    host, pid, start = process_tag().split()
    assert not writer_is_gone(f"{host} {pid} {start}")
    assert writer_is_gone(f"{host} {pid} {int(start) - 1000}")  # its number was given anew
    assert writer_is_gone(f"{host} {2**22 + 1} {start}")
    assert not writer_is_gone(f"elsewhere-{host} {pid} {start}")  # cannot be known


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


def test_a_password_in_the_address_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.tracking import environment

    environment._uri_of_user.cache_clear()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.org/x")
    try:
        assert shown_uri() == "https://mlflow.example.org/x"
    finally:
        environment._uri_of_user.cache_clear()
