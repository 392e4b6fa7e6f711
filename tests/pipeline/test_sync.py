"""MLflow mirrors DVC: nothing lost, nothing twice, whatever way a result came to be."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.pipeline.conftest import Project
from tests.pipeline.tiny import MODEL, SWEEP

SYNC = ("-m", "stages", "sync")
RUNS = ("-m", "stages", "runs")
LINEAGE = ("-m", "stages", "lineage")


def contents(project: Project) -> dict[str, tuple[object, ...]]:
    """All that a second sync must leave alone, by run."""
    return {
        run.info.run_id: (run.info.status, run.data.tags, run.data.metrics, run.data.params)
        for run in project.all_runs()
    }


def by_stage(project: Project) -> dict[str, mlflow.entities.Run]:
    runs = {run.data.tags["stage"]: run for run in project.runs()}
    assert len(runs) == len(project.runs()), "a computation has two runs"
    return runs


def test_a_clone_without_runs_gets_them_all_from_files_and_a_second_sync_changes_nothing(
    tiny_origin: Project, tiny: Project, tmp_path: Path
) -> None:
    remote = str(tmp_path / "remote")
    # A machine of its own: no cache but what it pulls.
    tiny_origin.run("dvc", "remote", "add", "--default", "--force", "--local", "r", remote)
    tiny_origin.run("dvc", "push")
    tiny.run("dvc", "config", "--local", "cache.dir", str(tmp_path / "cache"))
    tiny.run("dvc", "remote", "add", "--default", "--local", "r", remote)
    (tiny.folder / MODEL).unlink()

    shown = tiny.python(*LINEAGE, MODEL).stdout
    assert "file: not on this machine" in shown
    assert "run: none at sqlite" in shown
    assert "`make sync` makes it" in shown

    said = tiny.python(*SYNC).stdout
    assert "4 made from files" in said
    assert "1 files are not on this machine" in said
    assert "dvc fetch" in said
    runs = by_stage(tiny)
    assert set(runs) == set(tiny.locked())
    original = {run.data.tags["stage"]: run for run in tiny_origin.runs()}["train_baseline"]
    made = runs["train_baseline"]
    for split in ("train", "validation", "test"):
        name = f"{split}.accuracy"
        assert made.data.metrics[name] == original.data.metrics[name]
    assert made.data.params == original.data.params
    assert made.data.tags["dvc.missing"] == MODEL
    assert "duration_seconds" not in made.data.metrics  # not known, not invented
    assert made.info.end_time is None

    tiny.run("dvc", "pull")
    assert "1 completed" in tiny.python(*SYNC).stdout
    runs = by_stage(tiny)
    assert all("dvc.missing" not in run.data.tags for run in runs.values())
    assert len(runs["train_baseline"].outputs.model_outputs) == 1
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    assert list(client.search_registered_models()) == []  # that is asked for

    before = contents(tiny)
    assert "nothing to do" in tiny.python(*SYNC).stdout
    assert contents(tiny) == before

    shown = tiny.python(*LINEAGE, MODEL).stdout
    assert "made from files, so when and how long it ran is not known" in shown
    assert "libraries.yaml:numpy=2.0.0" in shown
    (tiny.folder / MODEL).unlink()
    (tiny.folder / MODEL).write_bytes(b"of unknown origin")
    assert "made by: unknown" in tiny.python(*LINEAGE, MODEL).stdout


def test_an_experiment_from_the_cache_shares_the_runs_and_its_name_leads_to_them(
    tiny: Project,
) -> None:
    tiny.python(*SYNC)
    relative = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}  # as MLflow's pages give it
    for name in ("first", "second"):  # the second is wholly in the cache
        setting = ("--name", name, "-S", "baseline.ridge=55")
        tiny.run("dvc", "exp", "run", "--temp", *setting, **relative)
    assert Counter(run.data.tags["stage"] for run in tiny.runs())["train_baseline"] == 2
    before = len(tiny.runs())
    tiny.python(*SYNC)
    assert len(tiny.runs()) == before
    (computed,) = [run for run in tiny.runs() if run.data.params.get("baseline.ridge") == "55"]
    assert computed.data.tags["dvc.exp_name"] == "first"
    for name in ("first", "second"):
        shown = tiny.python(*RUNS, name).stdout
        assert computed.info.run_id in shown
        assert "none" not in shown
        assert computed.info.run_id in tiny.summaries()[name].data.tags["mlflow.note.content"]
    shown = tiny.python(*RUNS, computed.info.run_id).stdout
    assert "first" in shown
    assert "second" in shown
    assert "main" not in shown
    # A run is not told of each experiment that shares it: there may be thousands.
    assert not [tag for run in tiny.all_runs() for tag in run.data.tags if "dvc.exp." in tag]
    before_second = contents(tiny)
    assert "nothing to do" in tiny.python(*SYNC).stdout
    assert contents(tiny) == before_second


COLLIDE = """\
import subprocess, sys
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from stages.tracking import store
from stages.tracking.sync import sync

as_it_is = store.log_datasets


def too_late(run_id, datasets):
    store.log_datasets = as_it_is
    # The other one looked for runs that are begun before this was.
    store.client().delete_tag(run_id, "dvc.computation")
    subprocess.run([sys.executable, "-m", "stages", "sync"], cwd=sys.argv[1], check=True)
    raise MlflowException("UNIQUE constraint failed: datasets", BAD_REQUEST)


store.log_datasets = too_late
sync()
"""


def test_a_run_that_another_sync_overtook_is_not_left_half_made(
    tiny_named: Callable[[str], Project],
) -> None:
    ada, bob = tiny_named("ada"), tiny_named("bob")
    (ada.folder / "collide.py").write_text(COLLIDE)
    one_store = {"MLFLOW_TRACKING_URI": f"sqlite:///{ada.folder / 'mlflow.db'}"}
    ada.run("python", "collide.py", str(bob.folder), PYTHONPATH=str(ada.folder), **one_store)
    kinds = {"dvc.record", "dvc.summary"}
    assert all(kinds & run.data.tags.keys() for run in ada.all_runs()), "half-made"
    assert set(by_stage(ada)) == set(ada.locked())


def test_what_a_person_deletes_stays_away_and_what_sync_removed_does_not(tiny: Project) -> None:
    tiny.python(*SYNC)
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    trained = by_stage(tiny)["train_baseline"].info.run_id
    main = tiny.summaries()["main"].info.run_id
    for run_id in (trained, main):
        client.delete_run(run_id)
    said = tiny.python(*SYNC).stdout
    assert "nothing to do" in said
    assert "2 runs stay away, as somebody deleted them in MLflow" in said
    assert trained in said
    assert main in said
    assert set(by_stage(tiny)) == set(tiny.locked()) - {"train_baseline"}
    assert set(tiny.summaries()) == {"workspace"}
    refused = tiny.python("-m", "stages", "champion", check=False)
    assert refused.returncode == 2
    assert f"`mlflow runs restore --run-id {trained}` brings it back" in refused.stderr

    # The row of a workspace that was different for a while is removed by sync, and comes back.
    params = (tiny.folder / "params.yaml").read_text()
    for text in (params + "\n", params):
        (tiny.folder / "params.yaml").write_text(text)
        assert "1 summaries made" in tiny.python(*SYNC).stdout

    tiny.run("mlflow", "runs", "restore", "--run-id", trained)  # as the message says
    client.restore_run(main)
    said = tiny.python(*SYNC).stdout
    assert "nothing to do" in said
    assert "stay away" not in said
    assert set(by_stage(tiny)) == set(tiny.locked())


@pytest.mark.xdist_group("swept")
def test_a_queue_on_a_new_database_loses_no_run_and_makes_none_twice(swept: Project) -> None:
    baseline = swept.run("git", "rev-parse", "HEAD").stdout.strip()
    computed = [
        run
        for run in swept.runs()
        if run.data.tags["stage"] == "train_baseline" and "made_from" not in run.data.tags
    ]
    assert sorted(float(run.data.params["baseline.ridge"]) for run in computed) == SWEEP
    assert {run.data.tags["dvc.exp_name"] for run in computed} == swept.experiments()
    assert {run.data.tags["dvc.exp_baseline"] for run in computed} == {baseline}
    assert {run.info.status for run in computed} == {"FINISHED"}

    swept.run("git", "tag", "v1")
    swept.run("git", "branch", "other")
    swept.python(*SYNC)
    records = Counter(run.data.tags["dvc.record"] for run in swept.runs())
    assert set(records.values()) == {1}
    rows = swept.python(*RUNS).stdout
    # All that `dvc exp show` lists.
    for row in ("main", "other", "v1", "workspace", *swept.experiments()):
        assert re.search(rf"\b{row} .* 4 of 4 │ +1\.0000 ", rows), rows


def test_a_killed_stage_does_not_stay_running_for_ever(tiny: Project) -> None:
    process = subprocess.Popen(
        ["python", "steps.py", "train_baseline"],
        cwd=tiny.folder,
        env=tiny.environment(PAUSE="30"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    log = tiny.folder / "logs/train_baseline.log"
    while not log.exists() or "epoch" not in log.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "ended" not in tiny.python(*SYNC).stdout  # it is alive
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = [run for run in tiny.runs() if run.info.status == "RUNNING"]
    tiny.run("git", "checkout", "--", "metrics")
    tiny.run("dvc", "checkout")
    assert "1 ended" in tiny.python(*SYNC).stdout
    (ended,) = [run for run in tiny.runs() if run.info.run_id == killed.info.run_id]
    assert ended.info.status == "KILLED"


def test_code_that_was_edited_while_the_stage_ran_is_told_by_the_stage_and_by_lineage(
    tiny: Project,
) -> None:
    edited = tiny.folder / "steps.py"
    process = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "train_baseline"],
        cwd=tiny.folder,
        env=tiny.environment(PAUSE="0.5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = tiny.folder / "logs/train_baseline.log"
    while not log.exists():  # written when the stage has read what it depends on
        assert process.poll() is None
        time.sleep(0.01)
    edited.write_text(edited.read_text() + "# edited\n")
    said, _ = process.communicate()
    assert "WARNING: train_baseline: edited while it ran: steps.py" in said
    shown = tiny.python(*LINEAGE, MODEL).stdout
    assert "edited while it ran, so DVC's record is not what ran: steps.py" in shown


def test_lineage_leads_from_a_model_to_its_data_code_params_and_revision(
    finished_project: Project,
) -> None:
    project = finished_project
    outs = {entry["path"]: entry["md5"] for entry in project.locked()["train_cnn"]["outs"]}
    md5 = outs["data/models/cnn.npz"]
    (run,) = [run for run in project.runs() if run.data.tags["stage"] == "train_cnn"]
    by_path = project.python(*LINEAGE, "data/models/cnn.npz").stdout
    for link in (
        md5,
        run.info.run_id,
        "branch main",
        "cnn.default.epochs=2",
        "data/cifar10.npz",
        "made by stage fetch_cifar10",
        "measured by run",
    ):
        assert link in by_path, by_path
    assert project.python(*LINEAGE, md5).stdout == by_path
    assert run.info.run_id in project.python(*LINEAGE, run.info.run_id).stdout
    assert md5 in project.python(*LINEAGE, "main").stdout


@pytest.mark.parametrize("command", [LINEAGE, RUNS])
def test_what_nobody_knows_is_told_in_one_line(tiny: Project, command: tuple[str, ...]) -> None:
    finished = tiny.python(*command, "no-such-thing", check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("ERROR: no-such-thing: is no revision")
    assert "Traceback" not in finished.stderr
