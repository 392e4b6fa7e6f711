"""Whoever watches a stage changes no byte of what it writes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.__main__ import STAGES
from tests.pipeline.conftest import Project


@pytest.mark.parametrize("tracking", ["absent", "failing"])
def test_the_whole_pipeline_computes_the_same_bytes_when_tracking_is(
    tracking: str, clone: Callable[[], Project], tmp_path: Path
) -> None:
    project = clone()  # in which everything was computed with tracking
    (tmp_path / "mlflow.py").write_text('raise ImportError("MLflow is not installed")\n')
    environment = {
        "absent": {"PYTHONPATH": str(tmp_path)},
        "failing": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},  # where nobody listens
    }[tracking]
    finished = project.run("dvc", "repro", "--force", **environment)
    warned = re.findall(r"^WARNING: (\w+): MLflow failed", finished.stderr, re.MULTILINE)
    assert warned == list(dict.fromkeys(warned))  # once each
    assert set(warned) == set(STAGES)
    assert project.git_status() == ""  # dvc.lock holds the md5 of all that was computed
    assert not (project.folder / "mlflow.db").exists()
