"""Stages killed at a bad moment, and mistakes of the user's: nothing lost, nothing half-written."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Project

MakeClone = Callable[[], Project]
STAGES = (
    "fetch_cifar10",
    "prepare",
    "train_baseline",
    "train_cnn",
    "fetch_mobilenet",
    "finetune_mobilenet",
    "evaluate",
)


def kill_when_at_work(project: Project, stage: str) -> None:
    """Run a stage through DVC and end DVC, the stage and all else with SIGKILL in the middle."""
    log = project.folder / "logs" / f"{stage}.log"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", stage],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not log.exists():  # written when tracking begins, before the work
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1.0)
    assert process.poll() is None, "the stage ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_is_simply_run_again(clone: MakeClone, stage: str) -> None:
    project = clone()
    kill_when_at_work(project, stage)
    project.run("dvc", "repro", "--force", "--single-item", stage)
    assert project.git_status() == ""
    assert not list(project.folder.rglob("*.partial"))
    finished = [run for run in project.runs() if run.info.status == "FINISHED"]
    assert stage in {run.data.tags["stage"] for run in finished}


def test_a_typo_in_params_stops_the_pipeline_with_one_line(clone: MakeClone) -> None:
    project = clone()
    project.set_params("cnn.default.epochs=0")
    finished = project.run("dvc", "repro", check=False)
    said = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert (
        "ERROR: params.yaml: cnn.default.epochs: 0 is not allowed; "
        "allowed: a whole number from 1 to 1000; correct it" in said
    )
    assert "Traceback" not in said


def test_a_damaged_model_is_named_by_evaluate(clone: MakeClone) -> None:
    project = clone()
    model = project.folder / "data/models/cnn.npz"
    content = model.read_bytes()
    model.unlink()  # it may be a link into DVC's cache
    Path(model).write_bytes(content[: len(content) // 2])
    finished = project.run("python", "-m", "stages.evaluate", check=False)
    assert finished.returncode == 2
    assert "ERROR: data/models/cnn.npz: cannot be read" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_memory_that_would_not_suffice_is_refused_before_the_work(clone: MakeClone) -> None:
    project = clone()
    project.set_params(
        "mobilenet.input_size=224",
        "mobilenet.first_trainable_block=2",
        "data.limit_per_class=null",
    )
    project.run("dvc", "repro", "--single-item", "prepare")
    finished = project.run("python", "-m", "stages.finetune_mobilenet", check=False)
    assert finished.returncode == 2
    assert "GiB" in finished.stderr
    assert "mobilenet.first_trainable_block" in finished.stderr
