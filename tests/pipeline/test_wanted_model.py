"""Which model answers: the one that was asked for, from the workspace or from MLflow."""

import json
from typing import Any

import pytest

from tests.pipeline.conftest import Project
from tests.pipeline.tiny import MODEL

NAME = "automobile-or-truck"
ASK = """\
import json, sys
import numpy as np
from stages.data.errors import UserError
from stages.models.photo_predictions import predictions_of
from stages.tracking.wanted_model import default_model, wanted_model
try:
    model, known = wanted_model(sys.argv[1] if sys.argv[1:] else default_model())
except UserError as error:
    sys.exit(f"ERROR: {error}")
(one,) = predictions_of(model, np.full((1, 32, 32, 3), 250, np.uint8))
print(json.dumps([known, one.prediction, one.probability, one.sure, "mlflow" in sys.modules]))
"""


def asked(project: Project, *model: str) -> Any:
    (project.folder.parent / "ask.py").write_text(ASK)
    finished = project.python(str(project.folder.parent / "ask.py"), *model, check=False)
    return finished.stderr or json.loads(finished.stdout)


@pytest.fixture
def registered(tiny: Project) -> Project:
    """A project that has a champion."""
    tiny.python("-m", "stages", "champion")
    return tiny


def test_a_model_of_the_workspace_needs_no_mlflow(tiny: Project) -> None:
    md5 = tiny.locked()["train_baseline"]["outs"][0]["md5"]
    known, prediction, probability, sure, _ = of_workspace = asked(tiny, "baseline")
    assert known == {"path": MODEL, "md5": md5}
    assert prediction == "truck"
    assert not sure
    assert 0.5 < probability < 0.9  # from which on the tiny model is sure
    assert asked(tiny, MODEL) == of_workspace
    finished = tiny.run("python", "-c", ASK, "baseline")  # where nothing is imported before
    assert json.loads(finished.stdout)[-1] is False


def test_the_champion_and_addresses_in_mlflow_are_the_very_file_and_say_where_it_is_from(
    registered: Project,
) -> None:
    commit = registered.run("git", "rev-parse", "HEAD").stdout.strip()
    of_workspace = asked(registered, "baseline")
    for name in ("champion", f"models:/{NAME}/1", f"models:/{NAME}@champion"):
        known, *said, _ = asked(registered, name)
        assert said == of_workspace[1:4]
        assert known["version"] == f"models:/{NAME}/1"
        assert (known["path"], known["md5"]) == (MODEL, of_workspace[0]["md5"])
        assert known["revision"] == commit
        assert known["run_id"] in {run.info.run_id for run in registered.runs()}


def test_if_nobody_says_which_the_champion_answers_else_the_best_of_the_workspace(
    registered: Project,
) -> None:
    assert asked(registered)[0]["version"] == f"models:/{NAME}/1"
    (registered.folder / "mlflow.db").unlink()
    assert asked(registered)[0]["path"] == MODEL
    assert not (registered.folder / "mlflow.db").exists()
    (registered.folder / MODEL).unlink()
    assert "there is no champion in MLflow, and no model with its metrics" in asked(registered)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mobilnet", "--model mobilnet: there is no such model or file; allowed: champion, basel"),
        ("cnn", "data/models/cnn.npz: no such file; make it with `dvc repro`"),
        ("params.yaml", "params.yaml: cannot be read"),
        ("champion", "has none; `make champion` proposes one, or name another: champion, baseline"),
        ("models:/no-such/1", "MLflow at sqlite:///"),
        ("models:/", "MLflow at sqlite:///"),
    ],
)
def test_a_model_that_is_not_there_is_told_in_one_line_that_says_what_is_allowed(
    tiny: Project, name: str, said: str
) -> None:
    told = asked(tiny, name)
    assert told.startswith("ERROR: ")
    assert said in told
    assert told.count("\n") == 1
