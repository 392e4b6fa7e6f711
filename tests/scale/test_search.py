"""A search outlives what goes wrong around it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.data.errors import UserError
from stages.tracking import search as module
from stages.tracking import store
from stages.workflow.pipeline import LockEntry
from stages.workflow.sweeps import Sweep
from stages.workflow.trials import Trial


class Recorder:
    """A runner that runs nothing, and knows what it was to run."""

    width = 1

    def __init__(self) -> None:
        self.started: list[Trial] = []

    def start(self, trial: Trial) -> None:
        self.started.append(trial)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    present = SimpleNamespace(params={"baseline": {"ridge": 0.0}})
    monkeypatch.setattr(module, "workspace", lambda: present)
    monkeypatch.setattr(module, "_entry_to_search", lambda stage: LockEntry(stage, {}, {}, {}))
    sweep = Sweep.model_validate(
        {
            "name": "ridge",
            "model": "baseline",
            "goal": "validation.accuracy",
            "trials": 1,
            "prune": True,
            "seed": 0,
            "params": {"baseline.ridge": {"choices": [0, 0.5]}},
        }
    )
    return module.Search(sweep, f"sqlite:///{tmp_path / 'sweeps.db'}")


def test_a_param_that_is_written_otherwise_than_the_choice_it_equals_is_tried_first(
    search: Any,
) -> None:
    runner = Recorder()
    search._start(search.study.ask(), runner)
    (trial,) = runner.started
    assert trial.params == ["baseline.ridge=0"]  # 0.0 in params.yaml


@pytest.mark.parametrize(
    "trouble",
    [
        UserError("experiment car-or-truck was deleted in MLflow"),
        ImportError("No module named 'psycopg'"),
        store.MlflowException("it does not answer"),
    ],
)
def test_whatever_is_wrong_with_mlflow_the_search_goes_on_without_it(
    search: Any,
    trouble: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> str:
        raise trouble

    monkeypatch.setattr(store, "experiment_id", fail)
    runner = Recorder()
    trial = search.study.ask()
    search._start(trial, runner)
    for _ in range(2):
        search._follow("ridge-0", runner)
    search.study.tell(trial, 0.5)
    search._show()
    followed, shown = capsys.readouterr().err.splitlines()
    assert followed.startswith("WARNING: trials are not ended early, as their epochs are not known")
    assert shown.startswith("WARNING: the pictures are not in MLflow")
    assert str(trouble) in followed
    assert str(trouble) in shown
