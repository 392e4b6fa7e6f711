"""Stages killed at a bad moment, and mistakes of the user's: nothing lost, nothing half-written."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.data.files import read_json
from tests.pipeline.conftest import Project

MakeClone = Callable[[], Project]
STAGES = (
    "fetch_cifar10",
    "prepare",
    "train_baseline",
    "train_cnn",
    "fetch_mobilenet",
    "finetune_mobilenet",
    "audit_labels",
    "evaluate",
)


def kill_in_the_middle(project: Project, stage: str, usual_seconds: float) -> None:
    """Run a stage through DVC; in the middle, end DVC, the stage and all else with SIGKILL."""
    # How long it takes this time is not known: sooner, if it was done before it could be killed.
    for part in (0.25, 0.12, 0.05):
        if was_killed_after(part * usual_seconds, project, stage):
            return
    pytest.fail(f"{stage} was done each time before it could be killed")


def was_killed_after(seconds: float, project: Project, stage: str) -> bool:
    """Run a stage, end it so many seconds after it has begun; False if it was done by then."""
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
    while not log.exists():  # written when tracking begins, from where a stage counts its seconds
        assert process.poll() is None, f"{stage} failed before it began"
        assert time.monotonic() < deadline, f"{stage} did not begin"
        time.sleep(0.02)
    time.sleep(seconds)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "finished" not in log.read_text()  # then only DVC was at work


def test_stages_that_were_killed_are_run_again_and_computing_everything_changes_no_byte(
    finished_project: Project, clone: MakeClone
) -> None:
    project = clone()
    receipts = (finished_project.folder / "logs/receipts").glob("*.json")
    usual = {each["stage"]: each["seconds"] for each in map(read_json, receipts)}
    # The last first: a stage needs what those before it wrote, and that must not be killed yet.
    for stage in reversed(STAGES):
        kill_in_the_middle(project, stage, usual[stage])
    assert "train_cnn" in project.run("dvc", "status").stdout  # its outputs are gone
    project.run("dvc", "repro", "--force")
    assert project.git_status() == ""
    assert not list(project.folder.rglob("*.partial"))
    finished = [run for run in project.runs() if run.info.status == "FINISHED"]
    assert {run.data.tags["stage"] for run in finished} == set(STAGES)


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
