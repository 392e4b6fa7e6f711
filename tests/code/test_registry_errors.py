"""The registry tells "nobody is champion" from "nobody answers", which must not crown anyone."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
from stages.tracking import registry, store
try:
    print(registry.champion_of("automobile-or-truck"))
    store.client().create_registered_model("automobile-or-truck")
    print(registry.champion_of("automobile-or-truck"))
except store.MlflowException as error:
    print(error.error_code)
"""


def said(uri: str, folder: Path) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "DVC_ROOT": str(folder)},
        text=True,
        capture_output=True,
        check=True,
    )
    return finished.stdout.split()


def test_a_registry_without_the_model_or_without_a_champion_has_none(tmp_path: Path) -> None:
    assert said(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) == ["None", "None"]


def test_a_registry_that_does_not_answer_is_an_error_and_not_a_vacant_place(tmp_path: Path) -> None:
    (answer,) = said("http://127.0.0.1:9", tmp_path)
    assert answer == "INTERNAL_ERROR"
