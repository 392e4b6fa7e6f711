"""The Dockerfile, where there is no Docker: its steps are looked at, its server is started."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import requests

from stages.models.baseline import LeastSquaresClassifier
from stages.models.storage import save_model
from tests.pipeline.faulty_server import HOST
from tests.raw_files import ROOT

FILE = (ROOT / "Dockerfile").read_text()
STEPS = [
    (match[1], re.sub(r"\\\n", "", match[2]).strip())
    for match in re.finditer(r"^([A-Z]+) ((?:[^\n]*\\\n)*[^\n]*)$", FILE, re.MULTILINE)
]
# Of `docker run --user 12345`: there is no such user, and so no home folder of theirs.
NOBODY = """import pwd

def getpwuid(uid):
    raise KeyError(uid)

pwd.getpwuid = getpwuid
"""
MODEL = "data/models/${MODEL}.npz"


def of(name: str) -> list[str]:
    return [what for step, what in STEPS if step == name]


def test_what_runs_is_pinned_and_no_root() -> None:
    (base,) = of("FROM")
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", base)
    assert any("--require-hashes" in step for step in of("RUN"))
    names = [name for name, _ in STEPS]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert of("USER") == ["10001"]
    for step in of("RUN"):
        subprocess.run(["sh", "-n", "-c", step], check=True)


def test_what_is_copied_is_there_and_nothing_else_gets_in() -> None:
    sources = [step.split()[0] for step in of("COPY")]
    listed = subprocess.run(
        ["git", "ls-files", *(each for each in sources if each != MODEL)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for source in sources:
        assert source == MODEL or any(file.split("/")[0] == source for file in listed)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert let_in == {MODEL.replace("${MODEL}", "*") if s == MODEL else s for s in sources}


def test_the_server_starts_from_the_copied_files_alone(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for step in of("COPY"):
        source, target = step.split()
        if source == MODEL:
            model = LeastSquaresClassifier(["a", "b"], np.zeros((1024, 2)), np.zeros(2), 32)
            save_model(app / target, model)
        elif not target.startswith("/"):
            shutil.copytree(
                *(ROOT / source, app / target), ignore=shutil.ignore_patterns("__pycache__")
            )
    with socket.create_server((HOST, 0)) as free:
        port = str(free.getsockname()[1])
    (exposed,) = of("EXPOSE")
    (entry,), (health,) = map(json.loads, of("ENTRYPOINT")), of("HEALTHCHECK")
    assert (entry[0], entry[-2:]) == ("python", ["--port", exposed])
    command = [port if part == exposed else part for part in entry[1:]]
    command[command.index("0.0.0.0")] = HOST  # noqa: S104  # nobody else is to reach a test
    # No git, no settings, and a user of whom the system knows nothing: as in the container.
    (tmp_path / "sitecustomize.py").write_text(NOBODY)
    of_image = dict(variable.split("=") for step in of("ENV") for variable in step.split())
    environment = of_image | {"PATH": "/nowhere", "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, *command], cwd=app, env=environment, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert requests.get(f"http://{HOST}:{port}/ping", timeout=5).status_code == 200
                break
            except requests.ConnectionError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        check = json.loads(health.partition("CMD ")[2])
        assert check[0] == "python"
        subprocess.run([sys.executable, *check[1:-1], check[-1].replace(exposed, port)], check=True)
        process.terminate()
