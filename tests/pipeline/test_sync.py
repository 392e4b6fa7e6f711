"""MLflow mirrors DVC: nothing lost, nothing twice, whatever way a result came to be."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import mlflow
import pytest

from tests.pipeline.conftest import SWEEP, Project

MakeClone = Callable[[], Project]
SYNC = ("python", "-m", "stages.commands.sync")
RUNS = ("python", "-m", "stages.commands.runs")
LINEAGE = ("python", "-m", "stages.commands.lineage")
MODEL_STAGES = {"train_baseline": "baseline", "train_cnn": "cnn", "finetune_mobilenet": "mobilenet"}


def contents(project: Project) -> dict[str, tuple[object, ...]]:
    """All that a second sync must leave alone, by run."""
    return {
        run.info.run_id: (run.info.status, run.data.tags, run.data.metrics, run.data.params)
        for run in project.runs()
    }


def by_stage(project: Project) -> dict[str, mlflow.entities.Run]:
    runs = {run.data.tags["stage"]: run for run in project.runs()}
    assert len(runs) == len(project.runs()), "a computation has two runs"
    return runs


def test_a_clone_without_runs_gets_them_all_from_files_and_a_second_sync_changes_nothing(
    finished_project: Project, clone: MakeClone
) -> None:
    project = clone()
    remote = finished_project.folder.parent / "remote"
    finished_project.run(
        "dvc", "remote", "add", "--default", "--force", "--local", "r", str(remote)
    )
    finished_project.run("dvc", "push")
    # A machine of its own: no cache but what it pulls.
    project.run("dvc", "config", "--local", "cache.dir", str(project.folder / ".dvc/own_cache"))
    project.run("dvc", "remote", "add", "--default", "--local", "r", str(remote))
    for stage in MODEL_STAGES.values():
        (project.folder / f"data/models/{stage}.npz").unlink()

    shown = project.run(*LINEAGE, "data/models/cnn.npz").stdout
    assert "file: not on this machine" in shown
    assert "run: none at sqlite" in shown
    assert "`make sync` makes it" in shown

    said = project.run(*SYNC).stdout
    assert "8 made from files" in said
    assert "3 files are not on this machine" in said
    assert "dvc fetch" in said
    runs = by_stage(project)
    assert set(runs) == set(project.locked())
    original = {run.data.tags["stage"]: run for run in finished_project.runs()}
    for stage, model in MODEL_STAGES.items():
        for split in ("train", "validation", "test"):
            name = f"{split}.accuracy"
            assert runs[stage].data.metrics[name] == original[stage].data.metrics[name]
        assert runs[stage].data.params == original[stage].data.params
        assert runs[stage].data.tags["dvc.missing"] == f"data/models/{model}.npz"
        assert "duration_seconds" not in runs[stage].data.metrics  # not known, not invented
        assert runs[stage].info.end_time is None

    project.run("dvc", "pull")
    assert "3 completed" in project.run(*SYNC).stdout
    runs = by_stage(project)
    assert all("dvc.missing" not in run.data.tags for run in runs.values())
    assert all(len(runs[stage].outputs.model_outputs) == 1 for stage in MODEL_STAGES)
    client = mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    assert len(client.search_model_versions("name = 'automobile-or-truck'")) == 1

    before = contents(project)
    assert "nothing to do" in project.run(*SYNC).stdout
    assert contents(project) == before

    shown = project.run(*LINEAGE, "data/models/cnn.npz").stdout
    assert "made from files, so when and how long it ran is not known" in shown
    model = project.folder / "data/models/cnn.npz"
    model.unlink()
    model.write_bytes(b"of unknown origin")
    assert "made by: unknown" in project.run(*LINEAGE, "data/models/cnn.npz").stdout


def test_an_experiment_from_the_cache_shares_the_runs_and_its_name_leads_to_them(
    clone: MakeClone,
) -> None:
    project = clone()
    project.run(*SYNC)
    for name in ("first", "second"):  # the second is wholly in the cache
        setting = ("-S", "baseline.ridge=55", "train_baseline")
        project.run("dvc", "exp", "run", "--temp", "--name", name, *setting)
    assert Counter(run.data.tags["stage"] for run in project.runs())["train_baseline"] == 2
    before = len(project.runs())
    said = project.run(*SYNC).stdout
    assert len(project.runs()) == before
    assert "tied to experiments" in said
    baseline = project.run("git", "rev-parse", "HEAD").stdout.strip()
    for name in ("first", "second"):
        tied = [run for run in project.runs() if f"dvc.exp.{name}" in run.data.tags]
        assert Counter(run.data.tags["stage"] for run in tied) == Counter(project.locked().keys())
        assert {run.data.tags[f"dvc.exp.{name}"] for run in tied} == {baseline}
        shown = project.run(*RUNS, name).stdout
        assert all(run.info.run_id in shown for run in tied)
    (computed,) = [
        run
        for run in project.runs()
        if run.data.tags["stage"] == "train_baseline" and "dvc.exp.second" in run.data.tags
    ]
    assert computed.data.tags["dvc.exp_name"] == "first"
    shown = project.run(*RUNS, computed.info.run_id).stdout
    assert "first" in shown
    assert "second" in shown
    assert "main" not in shown
    before_second = contents(project)
    assert "nothing to do" in project.run(*SYNC).stdout
    assert contents(project) == before_second


@pytest.mark.xdist_group("swept_project")
def test_a_queue_of_six_on_a_new_database_loses_no_run_and_makes_none_twice(
    swept_project: Project,
) -> None:
    project = swept_project
    baseline = project.run("git", "rev-parse", "HEAD").stdout.strip()
    runs = project.runs()
    computed = [run for run in runs if "made_from" not in run.data.tags]
    assert sorted(float(run.data.params["baseline.ridge"]) for run in computed) == SWEEP
    assert {run.data.tags["dvc.exp_name"] for run in computed} == project.experiments()
    assert {run.data.tags["dvc.exp_baseline"] for run in computed} == {baseline}
    assert {run.info.status for run in computed} == {"FINISHED"}

    project.run("git", "tag", "v1")
    project.run("git", "branch", "other")
    project.run(*SYNC)
    records = Counter(run.data.tags["dvc.record"] for run in project.runs())
    assert set(records.values()) == {1}
    rows = project.run(*RUNS).stdout
    # All that `dvc exp show` lists.
    for row in (*project.experiments(), "main", "other", "v1", "workspace"):
        assert re.search(rf"\b{row} .* 8 of 8 ", rows), rows
    # The evaluation of these is older than their baseline, and says nothing of it.
    for row in project.experiments():
        assert re.search(rf"\b{row} .* 8 of 8 │ +│ +0\.\d+ ", rows), rows


def test_a_killed_stage_does_not_stay_running_for_ever(clone: MakeClone) -> None:
    project = clone()
    process = subprocess.Popen(
        ["python", "-m", "stages.train_cnn"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    log = project.folder / "logs/train_cnn.log"
    while not log.exists() or "epoch" not in log.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGSTOP)  # so that it is not done before it is killed
    assert "ended" not in project.run(*SYNC).stdout  # it is alive
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = [run for run in project.runs() if run.info.status == "RUNNING"]
    project.run("git", "checkout", "--", "metrics")
    project.run("dvc", "checkout")
    assert "1 ended" in project.run(*SYNC).stdout
    (ended,) = [run for run in project.runs() if run.info.run_id == killed.info.run_id]
    assert ended.info.status == "KILLED"


def test_code_that_was_edited_while_the_stage_ran_is_told_by_the_stage_and_by_lineage(
    clone: MakeClone,
) -> None:
    project = clone()
    edited = project.folder / "stages/models/baseline.py"
    process = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "train_baseline"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = project.folder / "logs/train_baseline.log"
    while not log.exists():  # written when the stage has read what it depends on
        assert process.poll() is None
        time.sleep(0.01)
    edited.write_text(edited.read_text() + "# edited\n")
    said, _ = process.communicate()
    assert "WARNING: train_baseline: edited while it ran: stages/models/baseline.py" in said
    shown = project.run(*LINEAGE, "data/models/baseline.npz").stdout
    assert (
        "edited while it ran, so DVC's record is not what ran: stages/models/baseline.py" in shown
    )


def test_lineage_leads_from_a_model_to_its_data_code_params_and_revision(
    finished_project: Project,
) -> None:
    project = finished_project
    outs = {entry["path"]: entry["md5"] for entry in project.locked()["train_cnn"]["outs"]}
    md5 = outs["data/models/cnn.npz"]
    (run,) = [run for run in project.runs() if run.data.tags["stage"] == "train_cnn"]
    by_path = project.run(*LINEAGE, "data/models/cnn.npz").stdout
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
    assert project.run(*LINEAGE, md5).stdout == by_path
    assert run.info.run_id in project.run(*LINEAGE, run.info.run_id).stdout
    assert md5 in project.run(*LINEAGE, "main").stdout


@pytest.mark.parametrize("command", [LINEAGE, RUNS])
def test_what_nobody_knows_is_told_in_one_line(
    finished_project: Project, command: tuple[str, ...]
) -> None:
    finished = finished_project.run(*command, "no-such-thing", check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("ERROR: no-such-thing: is no revision")
    assert "Traceback" not in finished.stderr
