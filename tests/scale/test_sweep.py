"""A search learns, goes on after kill -9 with no trial lost or twice, and reads no test image."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Project, copy_working_tree, link_raw_files, watched

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
    return subprocess.Popen(
        ["python", "-m", "stages", "sweep", *options],
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
    broken = project.folder / "stages/train_baseline.py"
    text = broken.read_text()
    broken.write_text(text + '\n\ndef main(*_: object) -> None:\n    raise SystemExit("no luck")\n')
    process = sweep(project, "other.yaml")
    told = process.communicate()[1]
    broken.write_text(text)
    assert process.returncode == 2
    assert "ERROR: the first 3 trials failed; the last: " in told
    assert "Traceback" not in told


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
    project.run("git", "checkout", "--quiet", "params.yaml")
