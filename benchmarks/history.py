"""What a long history costs, as it grows: a sync, `dvc exp show` and a page of runs in MLflow.

    python -m benchmarks.history               # 250 and 1,000 of each kind: writes history.json
    python -m benchmarks.history --count 100   # another length: prints it

The project is made here: a training and an evaluation, of which each commit, or each experiment on
the first commit, has other params and other results. DVC runs the first and judges the last, so
that what is between is as DVC writes it. Measured are processor time and the most memory, and of
MLflow how long its server takes to find what a page of runs shows.
"""

import argparse
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from benchmarks.machine import measured_on, write_benchmark
from stages.workflow.pipeline import md5_of

RESULTS = Path("benchmarks/history.json")
KINDS = ("commits", "experiments")
LENGTHS = (250, 1000)
PAGE = {"max_results": 100, "order_by": ["attributes.start_time DESC"]}  # of MLflow's table of runs
HOST = "127.0.0.1"
ASKED = 5  # times; the median counts
PIPELINE = """\
stages:
  train:
    cmd: python step.py train
    params: [epochs]
    outs: [model.txt: {cache: false}]
    metrics: [loss.json: {cache: false}]
  evaluate:
    cmd: python step.py evaluate
    deps: [model.txt]
    metrics: [accuracy.json: {cache: false}]
artifacts:
  model: {path: model.txt, type: model}
"""
STEP = """\
import sys
from pathlib import Path

if sys.argv[1] == "train":
    epochs = Path("params.yaml").read_text().split()[1]
    Path("model.txt").write_text(epochs)
    Path("loss.json").write_text('{"loss": 0.%s}' % epochs)
else:
    Path("accuracy.json").write_text('{"accuracy": 0.%s}' % Path("model.txt").read_text())
"""


def main() -> None:
    """Make the project, sync it, and print or write what that took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, help="one length instead of 250 and 1,000")
    options = parser.parse_args()
    where, rows = measured_on(), []
    for kind, count in itertools.product(KINDS, [options.count] if options.count else LENGTHS):
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder)
            make_project(project, kind, count)
            rows.append({"kind": kind, "count": count} | measured(project, kind))
        print(json.dumps(rows[-1]), flush=True)
    if not options.count:
        write_benchmark(RESULTS, where | {"histories": rows}, history=table(rows))


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """As it stands in the docs."""
    return {
        "caption": "A project of two stages as its history grows",
        "header": [
            *("history", "first sync", "memory", "sync with nothing to do", "memory"),
            *("dvc exp show", "memory", "MLflow: 100 runs"),
        ],
        "rows": [
            [
                f"{row['count']:,} {row['kind']}",
                f"{row['first_sync_seconds']:.0f} s",
                f"{row['first_sync_megabytes']} MB",
                f"{row['second_sync_seconds']:.0f} s",
                f"{row['second_sync_megabytes']} MB",
                f"{row['exp_show_seconds']:.1f} s",
                f"{row['exp_show_megabytes']} MB",
                f"{row['page_milliseconds']:.0f} ms",
            ]
            for row in rows
        ],
    }


def make_project(project: Path, kind: str, count: int) -> None:
    """A DVC project with so many commits with results, or a commit with so many experiments.

    Raises:
        ValueError: DVC does not find its results up to date.
    """
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "step.py").write_text(STEP)
    (project / ".gitignore").write_text("/mlflow.*\n/mlartifacts\n")
    before = write_params(project, 1)
    run(project, "git", "init", "--quiet", "--initial-branch", "main")
    run(project, "dvc", "init", "--quiet")
    run(project, "dvc", "repro", "--quiet")
    first = commit(project, 1)
    lock = (project / "dvc.lock").read_text()
    for number in range(2, count + 1 + (kind == "experiments")):
        results = write_params(project, number)
        for name, content in results.items():
            (project / name).write_bytes(content)
            lock = lock.replace(md5_of(before[name]), md5_of(content))
            lock = lock.replace(f"size: {len(before[name])}\n", f"size: {len(content)}\n")
        lock = lock.replace(f"epochs: {number - 1}\n", f"epochs: {number}\n")
        (project / "dvc.lock").write_text(lock)
        before = results
        revision = commit(project, number)
        if kind == "experiments":
            name = f"refs/exps/{first[:2]}/{first[2:]}/exp-{number}"
            run(project, "git", "update-ref", name, revision)
            run(project, "git", "reset", "--quiet", "--soft", first)
    if "up to date" not in (said := run(project, "dvc", "status")):
        raise ValueError(said)


def write_params(project: Path, number: int) -> dict[str, bytes]:
    """Set the params of a commit; what its stages come to, by file."""
    (project / "params.yaml").write_text(f"epochs: {number}\n")
    return {
        "model.txt": f"{number}".encode(),
        "loss.json": f'{{"loss": 0.{number}}}'.encode(),
        "accuracy.json": f'{{"accuracy": 0.{number}}}'.encode(),
    }


def commit(project: Path, number: int) -> str:
    """Commit all of a project; the commit."""
    run(project, "git", "add", "--all")
    me = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost")
    run(project, "git", *me, "commit", "--quiet", "--message", f"results {number}")
    return run(project, "git", "rev-parse", "HEAD").strip()


def run(project: Path, *command: str) -> str:
    """Run a program in a project; what it said."""
    return subprocess.check_output(command, cwd=project, text=True)


def measured(project: Path, kind: str) -> dict[str, float]:
    """Of a sync into a new store, one with nothing to do, `dvc exp show`, and a page of MLflow.

    Raises:
        ValueError: a program failed.
    """
    sync = ["-m", "stages", "sync", "--project", str(project)]
    show = ["-m", "dvc", "exp", "show", "--json"]
    if kind == "commits":
        sync, show = [*sync, "--all-commits"], [*show, "--all-commits"]
    return {
        **used("first_sync", sync, Path.cwd()),
        **used("second_sync", sync, Path.cwd()),
        **used("exp_show", show, project),
        "page_milliseconds": milliseconds_of_page(project),
    }


def used(what: str, arguments: list[str], folder: Path) -> dict[str, float]:
    """Processor seconds and the most memory of a Python program.

    Raises:
        ValueError: it failed.
    """
    users = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=folder, env=users, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise ValueError(f"{what} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1e6 if sys.platform == "darwin" else 1e3  # a Mac counts bytes
    return {
        f"{what}_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        f"{what}_megabytes": round(usage.ru_maxrss / unit),
    }


def milliseconds_of_page(project: Path) -> float:
    """How long MLflow's server takes for what its table of runs asks for, the median."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        port = found.getsockname()[1]
    address = f"http://{HOST}:{port}"
    command = ["-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    store = f"sqlite:///{project / 'mlflow.db'}"
    users = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        [sys.executable, *command, "--backend-store-uri", store],
        cwd=project,
        env=users,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            api = f"{address}/api/2.0/mlflow"
            while not answers(f"{address}/health"):
                if server.poll() is not None:
                    raise ValueError("MLflow's server does not start")
                time.sleep(0.5)
            listed = requests.post(
                f"{api}/experiments/search", json={"max_results": 10}, timeout=60
            )
            numbers = [each["experiment_id"] for each in listed.json()["experiments"]]
            seconds = []
            for _ in range(ASKED):
                began = time.perf_counter()
                page = {"experiment_ids": numbers, **PAGE}
                said = requests.post(f"{api}/runs/search", json=page, timeout=60)
                seconds.append(time.perf_counter() - began)
                said.raise_for_status()
        finally:
            server.send_signal(signal.SIGTERM)
    return round(1000 * statistics.median(seconds), 1)


def answers(address: str) -> bool:
    """Whether a server is there."""
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
