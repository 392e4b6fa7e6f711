"""Tracking never costs a result: whatever breaks, same bytes, one warning, and sync mends it."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from stages.data.files import file_hash
from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import Door, door_to, mlflow_server
from tests.pipeline.tiny import MODEL

SYNC = ("-m", "stages", "sync")
WITH_DOOR = pytest.mark.xdist_group("door")  # so that one server is enough


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as port, door_to(port) as door:
        yield door


def assert_survived(said: str, stage: str, project: Project) -> None:
    """The results are the committed bytes, and one warning tells what to do."""
    assert said.count("WARNING") == 1, said
    assert f"WARNING: {stage}: MLflow failed at" in said
    assert "`make sync`" in said
    assert "Traceback" not in said
    assert project.run("git", "diff").stdout == ""
    recorded = {out["path"]: out["md5"] for out in project.locked()[stage]["outs"]}
    assert file_hash(project.folder / MODEL, "md5") == recorded[MODEL]


def assert_complete(runs: list[mlflow.entities.Run], stage: str) -> mlflow.entities.Run:
    """There is one run of the stage; it has all, its duration from the receipt."""
    (run,) = [each for each in runs if each.data.tags.get("stage") == stage]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["duration_seconds"] > 0
    assert "test.accuracy" in run.data.metrics
    assert run.data.params
    assert len(run.outputs.model_outputs) == 1
    return run


def runs_at(uri: str, experiment: str = "car-or-truck") -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(uri)
    experiments = [client.get_experiment_by_name(experiment).experiment_id]
    return list(client.search_runs(experiments))


def said_by(project: Project, stage: str, **environment: str) -> str:
    finished = project.python("steps.py", stage, **environment)
    return str(finished.stdout + finished.stderr)


@WITH_DOOR
@pytest.mark.parametrize("mode", ["shut", "error", "slow"])
def test_a_server_that_does_not_answer_well(tiny: Project, door: Door, mode: str) -> None:
    name = f"experiment-{mode}"
    at_door = {"MLFLOW_TRACKING_URI": door.uri, "MLFLOW_EXPERIMENT_NAME": name}
    door.mode = mode
    began = time.monotonic()
    timeout = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}  # seconds; a slow call takes 10
    said = said_by(tiny, "train_baseline", **at_door, **timeout)
    assert time.monotonic() - began < 60
    assert_survived(said, "train_baseline", tiny)
    if mode == "shut":
        failed = tiny.python(*SYNC, check=False, **at_door)
        assert failed.returncode == 2
        assert failed.stderr.startswith(f"ERROR: MLflow at {door.uri} failed")
        assert "Traceback" not in failed.stderr
    door.mode = "pass"
    tiny.python(*SYNC, **at_door)
    assert_complete(runs_at(door.uri, name), "train_baseline")


@WITH_DOOR
def test_a_server_that_takes_longer_to_store_a_model_than_to_answer(
    tiny: Project, door: Door
) -> None:
    name = "experiment-store"
    at_door = {"MLFLOW_TRACKING_URI": door.uri, "MLFLOW_EXPERIMENT_NAME": name}
    door.mode = "slow to store"
    said = said_by(tiny, "train_baseline", **at_door, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
    assert "WARNING" not in said
    (run,) = [each for each in runs_at(door.uri, name) if "stage" in each.data.tags]
    assert run.info.status == "FINISHED"
    assert len(run.outputs.model_outputs) == 1


@WITH_DOOR
def test_a_server_of_before_mlflow_3_gets_all_but_the_model(tiny: Project, door: Door) -> None:
    name = "experiment-old"
    at_door = {"MLFLOW_TRACKING_URI": door.uri, "MLFLOW_EXPERIMENT_NAME": name}
    door.mode = "old"
    said = said_by(tiny, "train_baseline", **at_door)
    assert said.count("WARNING") == 1, said
    assert "the server is older than MLflow 3" in said
    assert "nothing to do" not in tiny.python(*SYNC, **at_door).stdout
    refused = tiny.python("-m", "stages", "champion", check=False, **at_door)
    assert "the server is older than MLflow 3" in refused.stderr
    door.mode = "pass"
    (run,) = [r for r in runs_at(door.uri, name) if r.data.tags.get("stage") == "train_baseline"]
    assert run.info.status == "FINISHED"
    assert "dvc.record" in run.data.tags
    assert run.data.tags["model.missing"].startswith("the server is older than MLflow 3")
    assert "test.accuracy" in run.data.metrics


@WITH_DOOR
def test_a_server_that_goes_away_in_the_middle_of_training(tiny: Project, door: Door) -> None:
    at_door = {"MLFLOW_TRACKING_URI": door.uri, "MLFLOW_EXPERIMENT_NAME": "experiment-middle"}
    door.mode = "pass"
    process = subprocess.Popen(
        ["python", "steps.py", "train_baseline"],
        cwd=tiny.folder,
        env=tiny.environment(**at_door, PAUSE="0.3"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = tiny.folder / "logs/train_baseline.log"
    while not log.exists() or "epoch   1" not in log.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    door.mode = "shut"
    said, _ = process.communicate()
    assert process.returncode == 0
    assert_survived(said.replace("WARNING: All log messages", ""), "train_baseline", tiny)
    door.mode = "pass"
    tiny.python(*SYNC, **at_door)
    client = mlflow.MlflowClient(door.uri)
    experiment = client.get_experiment_by_name("experiment-middle")
    run = assert_complete(list(client.search_runs([experiment.experiment_id])), "train_baseline")
    history = client.get_metric_history(run.info.run_id, "validation_loss")
    assert sorted(point.step for point in history) == [1, 2]  # none lost, none twice
    assert "made_from" not in run.data.tags  # it is the run that was begun


def test_a_database_that_another_program_has_locked(tiny: Project) -> None:
    database = tiny.folder / "mlflow.db"
    holder = sqlite3.connect(database)
    holder.execute("BEGIN EXCLUSIVE")
    impatient = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}?timeout=1"}
    said = said_by(tiny, "train_baseline", **impatient)
    assert_survived(said, "train_baseline", tiny)
    holder.rollback()
    tiny.python(*SYNC)
    assert_complete(tiny.runs(), "train_baseline")


def test_a_database_that_may_only_be_read(tiny: Project) -> None:
    database = tiny.folder / "mlflow.db"
    read_only = {"MLFLOW_TRACKING_URI": f"sqlite:///file:{database}?mode=ro&uri=true"}
    said = said_by(tiny, "train_baseline", **read_only)
    assert "readonly" in said
    assert_survived(said, "train_baseline", tiny)


def assert_told(project: Project, what: str, **environment: str) -> None:
    """A stage goes on with one warning, and sync says the same in one line."""
    said = said_by(project, "train_baseline", **environment)
    assert said.count("WARNING") == 1, said
    assert f"WARNING: train_baseline: is not tracked ({what}" in said, said
    assert "finished" in said
    assert "…" not in said  # what to do stands whole
    failed = project.python(*SYNC, check=False, **environment)
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"ERROR: {what}")
    assert failed.stderr.count("\n") == 1


def test_an_experiment_that_was_deleted_in_mlflow(tiny: Project) -> None:
    said_by(tiny, "draw")
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("car-or-truck")
    client.delete_experiment(experiment.experiment_id)
    assert_told(tiny, "experiment car-or-truck was deleted in MLflow")
    # As the line says.
    number = ("--experiment-id", experiment.experiment_id)
    tiny.run("mlflow", "experiments", "restore", *number)
    assert "WARNING" not in said_by(tiny, "train_baseline")


@pytest.mark.parametrize("revision", ["ffffffffffff", "75868b020152"])  # unknown, and a former one
def test_a_database_of_another_version_of_mlflow(tiny: Project, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(tiny.folder / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    shown = f"sqlite:///{tiny.folder}/mlflow.db?timeout=20"
    assert_told(tiny, f"{shown}: is not of MLflow {mlflow.__version__}; if an older one made it")


def test_what_is_no_database_at_all(tiny: Project) -> None:
    (tiny.folder / "mlflow.db").write_text("text")
    assert_survived(said_by(tiny, "train_baseline"), "train_baseline", tiny)
    failed = tiny.python(*SYNC, check=False)
    assert failed.returncode == 2
    assert "file is not a database" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_disk_that_is_full(tiny: Project, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: no user namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    uri = f"sqlite:///{disk / 'mlflow.db'}?timeout=1"
    script = f"""
        mount -t tmpfs -o size=8m tmpfs {disk} || exit 9
        cp mlflow.db {disk} || exit 8
        cat /dev/zero > {disk / "filler"} 2> /dev/null
        python steps.py train_baseline || exit 7
        echo SYNC >&2
        rm {disk / "filler"}
        python -m stages sync || exit 6
        cp {disk / "mlflow.db"} {tmp_path / "rescued.db"}
    """
    finished = tiny.run(
        *("unshare", "--map-root-user", "--mount", "bash", "-c", script), MLFLOW_TRACKING_URI=uri
    )
    said, _, _ = finished.stderr.partition("SYNC")
    assert "full" in said
    assert_survived(said, "train_baseline", tiny)
    assert_complete(runs_at(f"sqlite:///{tmp_path / 'rescued.db'}"), "train_baseline")


def test_an_artifact_store_that_cannot_be_written(tiny: Project) -> None:
    artifacts = tiny.folder / "mlartifacts"
    artifacts.write_text("not a folder")
    said = said_by(tiny, "train_baseline")
    assert_survived(said, "train_baseline", tiny)
    artifacts.unlink()
    tiny.python(*SYNC)
    run = assert_complete(tiny.runs(), "train_baseline")
    assert "made_from" not in run.data.tags  # it is the run that was begun


def test_a_folder_for_logs_that_cannot_be_written(tiny: Project) -> None:
    shutil.rmtree(tiny.folder / "logs", ignore_errors=True)
    (tiny.folder / "logs").write_text("not a folder")
    said = said_by(tiny, "train_baseline")
    assert said.count("WARNING") == 1
    assert f"{tiny.folder}{os.sep}logs cannot be written" in said
    assert tiny.run("git", "diff").stdout == ""
    (run,) = tiny.runs()
    assert run.info.status == "FINISHED"


def test_an_mlflow_that_is_not_installed_or_broken(tiny: Project, tmp_path: Path) -> None:
    fault = "of another architecture"
    (tmp_path / "mlflow.py").write_text(f"raise ImportError({fault!r})")
    finished = tiny.run("python", "steps.py", "train_baseline", PYTHONPATH=str(tmp_path))
    said = finished.stdout + finished.stderr
    assert fault in said
    assert_survived(said, "train_baseline", tiny)
    log = (tiny.folder / "logs/train_baseline.log").read_text()
    assert "epoch   2" in log
    assert "finished" in log
    tiny.python(*SYNC)
    assert_complete(tiny.runs(), "train_baseline")  # its duration is kept without MLflow


def test_a_pipeline_that_tracking_does_not_understand(tiny: Project) -> None:
    pipeline = tiny.folder / "dvc.yaml"
    pipeline.write_text("vars: [none.yaml]\n" + pipeline.read_text())
    said = said_by(tiny, "train_baseline")
    assert said.count("WARNING") == 1, said
    assert "is not tracked (dvc.yaml: failed to parse 'vars' in 'dvc.yaml'" in said
    assert "finished" in said
    assert tiny.run("git", "diff", "metrics").stdout == ""


def test_params_that_are_broken_while_a_stage_runs(tiny: Project) -> None:
    process = subprocess.Popen(
        ["python", "steps.py", "train_baseline"],
        cwd=tiny.folder,
        env=tiny.environment(PAUSE="0.3"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (tiny.folder / "logs/train_baseline.log").exists():
        assert process.poll() is None
        time.sleep(0.02)
    (tiny.folder / "params.yaml").write_text("baseline: [")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "WARNING: train_baseline: is not tracked (params.yaml: is not YAML" in said
    assert tiny.run("git", "diff", "metrics").stdout == ""


def test_an_interrupt_does_not_undo_what_has_finished(tiny: Project) -> None:
    """Or DVC would run it again, and MLflow have it twice."""
    process = subprocess.Popen(
        ["python", "steps.py", "train_baseline"],
        cwd=tiny.folder,
        env=tiny.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        while not process.stdout.readline().endswith("finished\n"):
            assert process.poll() is None
        while process.poll() is None:  # Python takes a while to end, and heeds signals anew
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
    assert process.returncode == 0
    (run,) = tiny.runs()
    assert run.info.status == "FINISHED"
