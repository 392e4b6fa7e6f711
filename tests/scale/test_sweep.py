"""A search learns, goes on after kill -9 with no trial lost or twice, and reads no test image."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from ruamel.yaml import YAML

from stages.workflow.trials import stop_trial
from tests.pipeline.conftest import Project, copy_working_tree, link_raw_files, watched
from tests.pipeline.postgres import postgres

SWEEP = """\
name: ridge
model: baseline
goal: validation.roc_auc
trials: 3
prune: true
seed: 0
params:
  baseline.ridge: {low: 0.1, high: 1000, log: true}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its baseline trained on 120 images of each class."""
    project = Project(tmp_path_factory.mktemp("sweep") / "project")
    copy_working_tree(project, with_results=False)
    project.set_params("data.limit_per_class=120")
    (project.folder / "sweep.yaml").write_text(SWEEP)
    link_raw_files(project)
    project.commit("the project")
    project.run("dvc", "repro", "train_baseline")
    project.commit("the baseline")
    return project


def sweep(project: Project, *options: str, **environment: str) -> "subprocess.Popen[str]":
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # of a script
    return subprocess.Popen(
        [*in_background, "python", "-m", "stages", "sweep", *options],
        cwd=project.folder,
        env=project.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what: Callable[[], Any], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.2)


def study_of(project: Project, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{project.folder / 'sweeps.db'}")


def params_tried(project: Project, trial: int) -> float:
    """What the experiment of a trial has in its params.yaml."""
    reference = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
    (name,) = [each for each in reference.split() if each.endswith(f"/ridge-{trial}")]
    text = project.run("git", "show", f"{name}:params.yaml").stdout
    return float(YAML(typ="safe").load(text)["baseline"]["ridge"])


def test_it_goes_on_after_kill_9_reads_no_test_image_and_its_best_is_taken_over(
    trained: Project,
) -> None:
    project = trained
    log = watched(project)
    killed = sweep(project, **log)
    wait_for(lambda: "ridge-0" in project.experiments() or killed.poll() is not None)
    second = sweep(project)
    assert "ERROR: the sweep ridge runs in this folder already" in second.communicate()[1]
    time.sleep(1)  # in the second trial
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished = sweep(project, **log)
    _, errors = finished.communicate()
    assert finished.returncode == 0, errors

    trials = study_of(project, "ridge").trials
    assert [each.state.name for each in trials] == ["COMPLETE"] * 3
    assert project.experiments() == {f"ridge-{number}" for number in range(3)}
    for each in trials:
        tried = params_tried(project, each.number)
        assert tried == pytest.approx(each.params["baseline.ridge"], rel=1e-3)
    read = {line.split()[1] for line in Path(log["WATCH_LOG"]).read_text().splitlines()}
    assert {"data/prepared/train.npz", "data/prepared/validation.npz"} <= read
    assert not {path for path in read if "test.npz" in path or "cifar10.npz" in path}

    runs = [run for run in project.runs() if run.data.tags.get("dvc.exp_name")]
    done = [run.data.tags["dvc.exp_name"] for run in runs if run.info.status == "FINISHED"]
    assert sorted(done) == [f"ridge-{number}" for number in range(3)]
    assert {run.data.tags["stage"] for run in runs} == {"train_baseline"}
    (of_study,) = [run for run in project.all_runs() if run.data.tags.get("sweep") == "ridge"]
    assert of_study.data.metrics["validation.roc_auc"] == study_of(project, "ridge").best_value
    client = mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    pictures = {each.path for each in client.list_artifacts(of_study.info.run_id, "figures")}
    drawn = ("history", "importance", "parallel_coordinate")
    assert pictures == {f"figures/{name}.png" for name in drawn}

    again = sweep(project)
    assert "best of 3 trials" in again.communicate()[0]
    assert len(study_of(project, "ridge").trials) == 3  # nothing was left to do
    before = (project.folder / "params.yaml").read_text().splitlines()
    best = sweep(project, "--best")
    assert "now `dvc repro`" in best.communicate()[0]
    after = (project.folder / "params.yaml").read_text().splitlines()
    changed = [line for line in after if line not in before]
    found = study_of(project, "ridge").best_trial.user_attrs["params"]["baseline.ridge"]
    assert changed == [f"  ridge: {found}"]
    project.run("git", "checkout", "--quiet", "params.yaml")


def test_a_study_is_of_one_thing_and_what_fails_says_why(trained: Project) -> None:
    project = trained
    file = project.folder / "other.yaml"
    file.write_text(SWEEP.replace("high: 1000", "high: 100"))
    process = sweep(project, "other.yaml")
    told = process.communicate()[1]
    assert process.returncode == 2
    assert told.startswith("ERROR: the study ridge was begun with other params")
    # Experiments of a search whose study is gone are not taken for those of a new one.
    (project.folder / "sweeps.db").unlink()
    file.write_text(SWEEP.replace("seed: 0", "seed: 1"))
    process = sweep(project, "other.yaml")
    told = process.communicate()[1]
    assert process.returncode == 2
    assert "ERROR: the experiment ridge-0 is of another search" in told
    file.write_text(SWEEP.replace("name: ridge", "name: fails"))
    copies = project.folder / ".dvc/tmp/exps/standalone"
    shutil.rmtree(copies)
    copies.touch()  # so DVC cannot copy the project
    process = sweep(project, "other.yaml")
    told = process.communicate()[1]
    assert process.returncode == 2
    assert "ERROR: 3 trials failed one after the other; the last: ERROR" in told
    assert "Traceback" not in told
    # When that is mended it goes on, and the trials that failed are not missing in the end.
    copies.unlink()
    process = sweep(project, "other.yaml")
    said, told = process.communicate()
    assert process.returncode == 0, told
    assert "best of 6 trials" in said
    states = [each.state.name for each in study_of(project, "fails").trials]
    assert states == ["FAIL"] * 3 + ["COMPLETE"] * 3
    project.set_params("data.seed=1")
    process = sweep(project, "other.yaml")
    told = process.communicate()[1]
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert process.returncode == 2
    assert "ERROR: what train_baseline reads is missing or out of date; `dvc repro prep" in told


def test_a_training_that_falls_behind_is_ended_after_some_epochs(trained: Project) -> None:
    project = trained
    project.set_params("cnn.default.epochs=200")
    (project.folder / "cnn.yaml").write_text(
        SWEEP.replace("name: ridge", "name: behind")
        .replace("model: baseline", "model: cnn")
        .replace("trials: 3", "trials: 6")
        .replace(
            "baseline.ridge: {low: 0.1, high: 1000", "cnn.default.dropout: {low: 0.2, high: 0.7"
        )
    )
    storage = f"sqlite:///{project.folder / 'sweeps.db'}"
    study = optuna.create_study(study_name="behind", storage=storage, direction="maximize")
    ranges = {"cnn.default.dropout": optuna.distributions.FloatDistribution(0.2, 0.7, log=True)}
    for _ in range(5):  # as if these had known all from the first epoch on
        params, known = {"cnn.default.dropout": 0.5}, dict.fromkeys(range(1, 201), 1.0)
        past = optuna.trial.create_trial(
            params=params,
            distributions=ranges,
            value=1.0,
            intermediate_values=known,
            user_attrs={"params": {"cnn.default.dropout": "0.5"}},
        )
        study.add_trial(past)
    before = project.experiments()
    process = sweep(project, "cnn.yaml")
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "behind-5: pruned after epoch" in said
    assert study_of(project, "behind").trials[5].state.name == "PRUNED"
    assert project.experiments() == before
    (run,) = [run for run in project.runs() if run.data.tags.get("dvc.exp_name") == "behind-5"]
    assert run.info.status == "KILLED"
    assert not list((project.folder / ".dvc/tmp/exps/standalone").glob("tmp*")), "a copy is left"

    file = project.folder / "cnn.yaml"
    file.write_text(file.read_text().replace("name: behind", "name: begun"))
    process = sweep(project, "cnn.yaml")
    wait_for(lambda: list(project.folder.glob("logs/begun-0/train_cnn.log")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stop_trial("begun-0", project.folder)
    project.set_params("cnn.default.epochs=100")
    told = sweep(project, "cnn.yaml").communicate()[1]
    assert "ERROR: the study begun was begun with other settings" in told
    project.run("git", "checkout", "--quiet", "params.yaml")


def test_two_clones_share_a_study_in_postgresql(trained: Project) -> None:
    clones = [Project(trained.folder.parent / name) for name in ("ada", "bob")]
    for each in clones:
        trained.run("git", "clone", "--quiet", ".", str(each.folder))
        each.run("dvc", "config", "--local", "cache.dir", str(trained.folder / ".dvc/cache"))
        each.run("dvc", "checkout", "--quiet", "data/prepared/train.npz")
        each.run("dvc", "checkout", "--quiet", "data/prepared/validation.npz")
        shared = SWEEP.replace("name: ridge", "name: both").replace("trials: 3", "trials: 4")
        (each.folder / "sweep.yaml").write_text(shared)
    with postgres() as database:
        storage = database.replace("postgresql", "postgresql+psycopg", 1)
        running = [sweep(clones[0], SWEEP_STORAGE=storage)]
        wait_for(lambda: list(clones[0].folder.glob("logs/both-0")))
        running.append(sweep(clones[1], SWEEP_STORAGE=storage))
        told = [process.communicate() for process in running]
        assert [process.returncode for process in running] == [0, 0], told
        trials = optuna.load_study(study_name="both", storage=storage).trials
    assert [each.state.name for each in trials] == ["COMPLETE"] * 4
    made = [each.experiments() for each in clones]
    assert made[0] | made[1] == {f"both-{number}" for number in range(4)}
    assert not made[0] & made[1], "a trial was run twice"
    assert all(made)
