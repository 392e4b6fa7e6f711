"""What a sync of a long history costs: processor time and memory, as the history grows.

    python -m benchmarks.history                 # 250 and 1,000 commits: writes history.json
    python -m benchmarks.history --commits 100   # another length: prints it

The project is made here: a training and an evaluation, of which each commit has other params and
other results. DVC runs the first and judges the last, so that what is between is as DVC writes it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import measured_on
from stages.workflow.pipeline import md5_of

RESULTS = Path("benchmarks/history.json")
LENGTHS = (250, 1000)
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
    parser.add_argument("--commits", type=int, help="one length instead of 250 and 1,000")
    options = parser.parse_args()
    rows = []
    for commits in [options.commits] if options.commits else LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder)
            make_project(project, commits)
            rows.append({"commits": commits} | measured(project))
        print(json.dumps(rows[-1]))
    if not options.commits:
        written = measured_on() | {"histories": rows}
        RESULTS.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def make_project(project: Path, commits: int) -> None:
    """A DVC project whose main branch has so many commits with results.

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
    commit(project, 1)
    lock = (project / "dvc.lock").read_text()
    for number in range(2, commits + 1):
        results = write_params(project, number)
        for name, content in results.items():
            (project / name).write_bytes(content)
            lock = lock.replace(md5_of(before[name]), md5_of(content))
            lock = lock.replace(f"size: {len(before[name])}\n", f"size: {len(content)}\n")
        lock = lock.replace(f"epochs: {number - 1}\n", f"epochs: {number}\n")
        (project / "dvc.lock").write_text(lock)
        before = results
        commit(project, number)
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


def commit(project: Path, number: int) -> None:
    """Commit all of a project."""
    run(project, "git", "add", "--all")
    me = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost")
    run(project, "git", *me, "commit", "--quiet", "--message", f"results {number}")


def run(project: Path, *command: str) -> str:
    """Run a program in a project; what it said."""
    return subprocess.check_output(command, cwd=project, text=True)


def measured(project: Path) -> dict[str, float]:
    """Processor seconds of a sync into a new store and of one with nothing to do, most memory.

    Raises:
        ValueError: a sync failed.
    """
    command = [sys.executable, "-m", "stages", "sync", "--all-commits", "--project", str(project)]
    users = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    found: dict[str, float] = {}
    for what in ("first_sync", "second_sync"):
        process = subprocess.Popen(command, env=users)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise ValueError(f"sync ended with {status}")
        found[f"{what}_seconds"] = round(used.ru_utime + used.ru_stime, 1)
        # A Mac counts bytes.
        found[f"{what}_megabytes"] = round(
            used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        )
    return found


if __name__ == "__main__":
    main()
