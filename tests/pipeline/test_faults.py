"""Stages killed at a bad moment, and mistakes of the user's: nothing lost, nothing half-written."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.pipeline.conftest import Project, watched

MakeClone = Callable[[], Project]
# The last first: a stage needs what those before it wrote, and that must not be killed yet.
KILLED = {
    "draw": {"WATCH_KILL_AT": "5"},  # of twenty pictures in a folder
    "finetune_mobilenet": {"WATCH_KILL_AT": "2"},  # the head is trained; then comes an epoch
    "train_baseline": {"WATCH_KILL_AT": "2"},  # the model is there, its metrics are not
}


def test_no_stage_writes_into_an_output_all_take_its_place_when_they_are_whole(
    finished_project: Project,
) -> None:
    project = finished_project
    log = Path(watched(project)["WATCH_LOG"]).read_text().splitlines()
    noted = [line.partition(" ")[::2] for line in log]
    opened, renamed = (
        {(project.folder / path).resolve() for how, path in noted if how == kind}
        for kind in ("open", "rename")
    )
    outputs = {
        path.resolve()
        for stage in project.locked().values()
        for out in stage["outs"]
        for path in [project.folder / out["path"], *(project.folder / out["path"]).rglob("*")]
        if path.is_file()
    }
    assert len(outputs) > 30
    assert not outputs & opened
    assert all({path, *path.parents} & renamed for path in outputs)


def test_stages_that_were_killed_at_a_bad_moment_are_simply_run_again_to_the_same_bytes(
    clone: MakeClone,
) -> None:
    project = clone()
    run_again = ["dvc", "repro", "--force", "--single-item"]  # not what is in DVC's cache
    for stage, moment in KILLED.items():
        process = subprocess.run(
            [*run_again, stage],
            cwd=project.folder,
            env=project.environment(**watched(project), **moment),
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        assert process.returncode == -signal.SIGKILL, process.stdout + process.stderr
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert set(KILLED) <= set(status)  # what was written before counts for nothing
    finished = project.run(*run_again, *reversed(KILLED))
    said = finished.stdout + finished.stderr
    assert "head goes on after 1 of 1 epochs, as it was interrupted" in said
    assert said.count("WARNING: train_baseline: 108 training images are no more than the 1024") == 1
    assert "sklearn" not in said
    assert json.loads(project.run("dvc", "status", "--json").stdout) == {}
    assert project.git_status() == ""
    assert not list(project.folder.rglob("*.partial"))
    assert not (project.folder / "data/checkpoints").exists()


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


def test_a_damaged_model_is_named(clone: MakeClone) -> None:
    project = clone()
    model = project.folder / "data/models/cnn.npz"
    content = model.read_bytes()
    model.unlink()  # it may be a link into DVC's cache
    Path(model).write_bytes(content[: len(content) // 2])
    finished = project.run("python", "-m", "stages", "draw", check=False)
    assert finished.returncode == 2
    assert "ERROR: data/models/cnn.npz: cannot be read" in finished.stderr
    assert "Traceback" not in finished.stderr
