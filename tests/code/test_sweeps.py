"""A search's file is checked like params.yaml, and what it finds is written beside the comments."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.workflow import trials
from stages.workflow.libraries import check_libraries
from stages.workflow.sweeps import read_sweep, write_params
from stages.workflow.trials import stop_trial, wait_for_workspace
from tests.raw_files import ROOT

GIVEN = (ROOT / "sweep.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_file_that_comes_with_the_project_is_legal() -> None:
    sweep = read_sweep("sweep.yaml")
    assert sweep.stage == "train_cnn"
    assert sweep.measure({"validation": {"roc_auc": 0.5}}) == 0.5


@pytest.mark.parametrize(
    ("given", "instead", "told"),
    [
        ("model: cnn", "model: cmn", "model: 'cmn' is not allowed; allowed: one of baseline, cnn"),
        (
            "{choices: [32, 64, 128]}",
            "{low: 32, high: 128, step: 0.5}",
            "allowed: step above 0, whole if low and high are; correct it",
        ),
        ("trials: 30", "trials: 0", "trials: 0 is not allowed; allowed: a whole number from 1"),
        ("prune: true", "", "prune: is missing; allowed: true or false; add it"),
        ("goal: validation", "goal: test", "goal: 'test.roc_auc' is not allowed; allowed: one of"),
        ("low: 0.2, high: 0.7", "low: 0.7, high: 0.2", "low the smaller"),
        ("low: 0.2, high: 0.7", "low: 0.2, high: 1.5", "cnn.default.dropout: 1.5 is not allowed"),
        ("low: 0.2, high: 0.7", "low: 0, high: 0.7, log: true", "allowed: log with low above 0"),
        ("[32, 64, 128]", "[32, many]", "cnn.default.dense_units: 'many' is not allowed"),
        (
            "cnn.default.dropout",
            "cnn.default.drop",
            "is no setting of the training of cnn; allowed",
        ),
        ("cnn.default.dropout", "mobilenet.dropout", "is no setting of the training of cnn"),
        ("cnn.default.dropout", "data.seed", "is no setting of the training of cnn"),
        ("cnn.default.dropout", "cnn.seed", "is no setting of the training of cnn"),
    ],
)
def test_a_mistake_is_one_line(given: str, instead: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    assert given in GIVEN
    file.write_text(GIVEN.replace(given, instead), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_sweep(str(file))
    assert str(error.value).startswith(f"{file}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stage_that_dvc_yaml_lacks_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {prepare: {cmd: prepare}}\n", encoding="utf-8")
    Path("sweep.yaml").write_text(GIVEN, encoding="utf-8")
    for ask in (lambda: read_sweep("sweep.yaml"), lambda: check_libraries("train_cnn")):
        with pytest.raises(UserError, match=r"^dvc\.yaml: has no stage train_cnn; restore it"):
            ask()


def test_a_trial_that_does_not_heed_an_interrupt_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.workflow.trials.PATIENCE", 1.0)
    heard = tmp_path / "heard"
    (tmp_path / "stages.py").write_text(
        "import pathlib, signal, time\n"
        f"signal.signal(signal.SIGINT, lambda *_: pathlib.Path({str(heard)!r}).touch())\n"
        "print('ready', flush=True)\n"
        "while True:\n    time.sleep(1)\n"
    )
    command = [sys.executable, "-m", "stages", "--temp", "--name"]

    def started(name: str) -> subprocess.Popen[str]:
        trial = subprocess.Popen([*command, name], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert trial.stdout
        assert trial.stdout.readline() == "ready\n"
        return trial

    with started("cnn-1") as trial, started("cnn-10") as another:
        stop_trial("cnn-1", tmp_path)
        assert trial.wait(10) == -signal.SIGKILL
        assert heard.exists()
        assert another.poll() is None
        another.kill()


DVC = """\
import os, subprocess, sys, time
time.sleep(1)
stage = [sys.executable, "-m", "stages"]
child = subprocess.Popen(stage, env={**os.environ, "DVC_EXP_NAME": "cnn-1"})
sys.exit(1 if child.wait() else 0)
"""
WAITS = "import time\ntime.sleep(60)\n"


def test_a_trial_that_is_stopped_has_failed_whoever_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(WAITS)
    command = [sys.executable, "-c", DVC, "exp", "run", "--temp", "--name", "cnn-1"]
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            trial = pool.submit(trials._call, command, tmp_path, 2)
            while len(trials._processes("cnn-1", tmp_path)) < 2:
                assert not trial.done()
            stop_trial("cnn-1", tmp_path)
            assert trial.result(10) is False


def test_a_trial_on_ray_is_stopped_which_interrupts_without_a_signal(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(WAITS)
    worker = (
        "import _thread, pathlib, signal, sys, threading\n"
        "from stages.workflow import trials\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"  # as Ray does
        "folder = pathlib.Path(sys.argv[1])\n"
        "command = [sys.executable, '-c', sys.argv[2], 'exp', 'run', '--temp', '--name', 'cnn-1']\n"
        "def stop():\n"
        "    while len(trials._processes('cnn-1', folder)) < 2: pass\n"
        "    _thread.interrupt_main()\n"
        "threading.Thread(target=stop).start()\n"
        "trials._call(command, folder, 2)\n"
    )
    command = [sys.executable, "-c", worker, str(tmp_path), DVC]
    told = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    ).stderr
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert not trials._processes("cnn-1", tmp_path)


def test_an_experiment_that_dvc_is_taking_from_the_workspace_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(WAITS)
    command = [sys.executable, "-c", DVC, "exp", "run", "--temp", "--name", "cnn-1"]
    with subprocess.Popen(command, cwd=tmp_path) as left_over:
        wait_for_workspace(tmp_path)
        assert left_over.poll() is None
        stage = trials._processes("cnn-1", tmp_path)
        assert len(stage) == 2
        left_over.kill()
        left_over.wait()
        assert len(trials._processes("cnn-1", tmp_path)) == 1, "the stage has outlived its DVC"
        stop_trial("cnn-1", tmp_path)
        assert not trials._processes("cnn-1", tmp_path)


def test_what_is_found_takes_its_place_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    file.write_text(before, encoding="utf-8")
    write_params(file, {"cnn.default.dropout": "0.31", "cnn.default.filters": "[16, 32, 64]"})
    changed = set(file.read_text(encoding="utf-8").splitlines()) - set(before.splitlines())
    assert changed == {"    dropout: 0.31", "    filters: [16, 32, 64]"}
    assert len(file.read_text().splitlines()) == len(before.splitlines())
