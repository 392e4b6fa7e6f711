"""Whoever watches a stage changes no byte of what it writes, nor do settings of other projects."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Project, run_stages

# Each would change the bytes, or end the stage.
SETTINGS_OF_OTHERS = {
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_EPOCHS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "TF_NUM_INTRAOP_THREADS": "1",
}


@pytest.mark.parametrize(
    ("tracking", "stages"),
    [
        ("absent", ("prepare", "train_baseline")),
        ("failing", ("prepare", "train_baseline", "train_cnn", "evaluate", "draw")),
    ],
)
def test_the_pipeline_computes_the_same_bytes_when_tracking_is(
    tracking: str, stages: tuple[str, ...], clone: Callable[[], Project], tmp_path: Path
) -> None:
    project = clone()  # in which everything was computed with tracking
    computed = [
        path
        for stage, entry in project.locked().items()
        if stage in stages
        for out in entry["outs"]
        for path in [project.folder / out["path"], *(project.folder / out["path"]).rglob("*")]
        if path.is_file()
    ]
    for path in computed:
        path.unlink()
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text('{"floatx": "float64", "epsilon": 0.001}')
    (tmp_path / "mlflow.py").write_text('raise ImportError("MLflow is not installed")\n')
    environment = {
        "absent": {"PYTHONPATH": str(tmp_path)},
        "failing": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},  # where nobody listens
    }[tracking]
    environment |= {**SETTINGS_OF_OTHERS, "HOME": str(tmp_path)}
    finished = run_stages(project, stages, **environment)
    ignored = f"not heeded, as they could change results: {', '.join(SETTINGS_OF_OTHERS)}\n"
    assert finished.stderr.count(ignored) == len(stages)
    warned = re.findall(r"^WARNING: (\w+): MLflow failed", finished.stderr, re.MULTILINE)
    assert warned == list(stages)  # once each
    assert len(computed) > (30 if "draw" in stages else 3)
    assert all(path.is_file() for path in computed)
    assert json.loads(project.run("dvc", "status", "--json").stdout) == {}
    assert project.git_status() == ""
    assert not (project.folder / "mlflow.db").exists()
