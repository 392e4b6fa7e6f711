"""A logged model needs nothing but itself: not this project's folder, nor its environment."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from tests.pipeline.conftest import Project
from tests.raw_files import ROOT

LOAD = """\
import json, sys
import mlflow

model = mlflow.pyfunc.load_model(sys.argv[1])
said = model.predict({"image": [open(sys.argv[2], "rb").read()]})
import stages
print(json.dumps([said.to_dict("records"), stages.__file__]))
"""


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """An environment for programs in which nothing of this one is found."""
    settings = runpy.run_path(str(ROOT / ".ci" / "environment.py"))["settings_for_uv"]
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**kept, **settings(listed), "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(tmp_path)}


def test_a_logged_model_predicts_in_an_empty_environment_made_of_its_own_requirements(
    tiny: Project, tmp_path: Path, empty: dict[str, str]
) -> None:
    # With the versions of this environment, which uv has in its cache.
    (tiny.folder / "libraries.yaml").write_text(f"numpy: {np.__version__}\n")
    for stage in ("train_baseline", "evaluate"):
        tiny.python("steps.py", stage)
    tiny.run("dvc", "commit", "--force", "--quiet")
    tiny.python("-m", "stages", "champion")
    mlflow.set_tracking_uri(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    model = tmp_path / "elsewhere" / "model"
    mlflow.artifacts.download_artifacts("models:/automobile-or-truck@champion", dst_path=str(model))
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((50, 60, 3), 250, np.uint8)).save(photo)

    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "venv" / "bin" / "python"
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True)
    empty = {**empty, "UV_CACHE_DIR": cache.stdout.strip(), "UV_OFFLINE": "1"}
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run(
        [uv, "venv", "--quiet", "--python", base, tmp_path / "venv"], check=True, env=empty
    )
    asked = ("-r", model / "requirements.txt", "-c", ROOT / "requirements.lock")
    installed = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *asked],
        env=empty,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"uv's cache lacks packages: {installed.stderr.strip()[:200]}")
    (tmp_path / "load.py").write_text(LOAD)
    loaded = subprocess.run(
        [python, tmp_path / "load.py", model, photo],
        cwd=model.parent,
        env=empty,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    (said,), library = json.loads(loaded.stdout.splitlines()[-1])
    assert Path(library) == model / "code" / "stages" / "__init__.py"
    finished = tiny.python(
        *("-m", "stages", "predict", "--model", "baseline", "--format", "jsonl", str(photo))
    )
    here = json.loads(finished.stdout)
    assert here.pop("file") == str(photo)
    assert said == here
