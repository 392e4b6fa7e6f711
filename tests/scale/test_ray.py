"""A search on two machines, one of which is lost in the middle: nothing is lost or twice."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import psutil
import pytest

from tests.pipeline.conftest import Project, copy_working_tree, link_raw_files, watched
from tests.pipeline.faulty_server import HOST, mlflow_server
from tests.scale.test_sweep import SWEEP, wait_for

TRIALS = 4
PAUSE = 20  # seconds, in a trial: what is lost with its machine is not finished


@pytest.fixture
def pushed(tmp_path: Path) -> Project:
    """A project whose commit and data others can have, from a bare repository and a DVC remote."""
    project = Project(tmp_path / "project")
    copy_working_tree(project, with_results=False)
    project.set_params("data.limit_per_class=120")
    text = SWEEP.replace("trials: 3", f"trials: {TRIALS}").replace("name: ridge", "name: far")
    (project.folder / "sweep.yaml").write_text(text)
    link_raw_files(project)
    project.commit("the project")
    project.run("dvc", "repro", "train_baseline")
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.commit("the baseline")
    project.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare.git"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "bare.git"))
    project.run("git", "push", "--quiet", "origin", "main")
    project.run("dvc", "push", "--quiet")
    return project


def ray(project: Project, *arguments: str, **environment: str) -> None:
    """The program ray, whose processes outlive it."""
    with (project.folder.parent / "ray.log").open("a") as log:  # they would hold on to a pipe
        subprocess.run(
            ["ray", *arguments, "--disable-usage-stats"],
            env=project.environment(**environment),
            stdout=log,
            stderr=log,
            check=True,
        )


def of_home(home: Path) -> list[psutil.Process]:
    """The processes that have a home folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill(home: Path, named: str = "") -> None:
    """Processes of a machine are gone at once; all of them, if none is named."""
    for process in of_home(home):
        try:
            if named in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def is_in_a_trial(home: Path) -> bool:
    """Whether a machine has begun a training less than half of `PAUSE` ago."""
    logs = home.glob(".cache/trials/*/0/logs/far-*/train_baseline.log")
    young = [log for log in logs if time.time() - log.stat().st_mtime < PAUSE / 2]
    return any("finished" not in log.read_text() for log in young)


@contextmanager
def cluster(project: Project, folder: Path, **environment: str) -> Iterator[tuple[str, list[Path]]]:
    """A head that runs nothing, and two machines that run a trial at a time: address and homes."""
    homes = [folder / name for name in ("head", "one", "two")]
    port = 20_000 + os.getpid() % 10_000
    address = f"{HOST}:{port}"
    own = {
        "RAY_TMPDIR": str(folder / "ray"),
        "RAY_worker_register_timeout_seconds": "300",
        "RAY_process_group_cleanup_enabled": "true",
    }
    places = [
        ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"],
        [f"--address={address}", "--num-cpus=1"],
        [f"--address={address}", "--num-cpus=1"],
    ]
    try:
        for home, place in zip(homes, places, strict=True):
            home.mkdir()
            ray(
                *(project, "start", f"--node-ip-address={HOST}", *place),
                **({"HOME": str(home)} | own | environment),
            )
        yield address, homes
    finally:
        for home in homes:
            kill(home)


def test_it_finishes_when_a_machine_and_a_worker_are_lost_and_nothing_is_lost_or_twice(
    pushed: Project, tmp_path: Path
) -> None:
    project = pushed
    with mlflow_server(tmp_path / "server") as port:
        uri = {"MLFLOW_TRACKING_URI": f"http://{HOST}:{port}"}
        slow = watched(project) | {"WATCH_PAUSE": str(PAUSE)}
        short = Path(tempfile.mkdtemp())  # the path of a socket is short
        with cluster(project, short, **uri, **slow) as (address, homes):
            log = (tmp_path / "sweep.log").open("w")
            process = subprocess.Popen(
                ["python", "-m", "stages", "sweep", "--ray", "2"],
                cwd=project.folder,
                env=project.environment(RAY_ADDRESS=address, **uri),
                stdout=log,
                stderr=log,
            )
            wait_for(
                lambda: (
                    all(is_in_a_trial(home) for home in homes[1:]) or process.poll() is not None
                ),
                seconds=600,
            )
            assert process.poll() is None, "no machine was in a trial"
            kill(homes[2], "ray::run_trial")  # the worker alone, in its trial
            kill(homes[1])
            process.wait(timeout=900)
            said = (tmp_path / "sweep.log").read_text()
            assert process.returncode == 0, said
        shutil.rmtree(short)

        storage = f"sqlite:///{project.folder / 'sweeps.db'}"
        study = optuna.load_study(study_name="far", storage=storage)
        assert [each.state.name for each in study.trials] == ["COMPLETE"] * TRIALS
        names = {f"far-{number}" for number in range(TRIALS)}
        assert project.experiments() == names
        listed = project.run("git", "ls-remote", "origin", "refs/exps/*").stdout
        assert {each.rpartition("/")[2] for each in listed.splitlines()} == names
        # Their models are in the remote: whoever asks has them.
        project.run("dvc", "exp", "pull", "--quiet", "--force", "origin", "far-1")
        done = [
            run.data.tags["dvc.exp_name"]
            for run in server_runs(uri["MLFLOW_TRACKING_URI"])
            if run.info.status == "FINISHED" and run.data.tags.get("stage") == "train_baseline"
        ]
        assert sorted(done) == sorted(names)


def server_runs(uri: str) -> "list[object]":
    """All runs of a server."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("car-or-truck")
    return list(client.search_runs([experiment.experiment_id]))


def test_what_other_machines_lack_is_told_before_the_search(pushed: Project) -> None:
    project = pushed
    asked = ("-m", "stages", "sweep", "--ray", "2")
    (project.folder / "params.yaml").open("a").write("# changed\n")
    told = project.python(*asked, check=False).stderr
    assert "ERROR: the workspace has changes that other machines lack; commit and push" in told
    project.commit("a change")
    told = project.python(*asked, check=False).stderr
    assert "ERROR: other machines cannot have this commit; `git push` it" in told
    project.run("git", "push", "--quiet", "origin", "main")
    finished = project.python(*asked, check=False, RAY_ADDRESS=f"{HOST}:9")
    assert finished.returncode == 2
    assert "ERROR: no Ray cluster answers" in finished.stderr.splitlines()[-1]
    project.run("dvc", "config", "--unset", "core.remote")
    project.commit("no default")
    project.run("git", "push", "--quiet", "origin", "main")
    told = project.python(*asked, check=False).stderr
    assert "ERROR: no DVC remote is the default" in told
