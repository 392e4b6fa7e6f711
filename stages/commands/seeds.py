"""Train with several seeds through the pipeline and report mean, deviation and range.

Each seed is a DVC experiment in a copy of the project (`dvc exp run --temp`), so that the workspace
stays as it is and what is in the cache is not computed again. Writes metrics/seeds.json and
metrics/seeds.csv (a row a model and seed); the experiments are removed afterwards, their runs stay
in MLflow.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from stages.data.errors import UserError
from stages.data.files import write_csv, write_json
from stages.reporting.reading import numbers_in
from stages.reporting.tables import EVALUATION, SEEDS, TRAINING_STAGES
from stages.workflow.command import run_reporting_mistakes
from stages.workflow.repository import file_at, find_commit, references

TABLE = Path("metrics/seeds.csv")
MEASURES = ("train_accuracy", "validation_accuracy", "test_accuracy")


def main() -> None:
    """Read the options, run the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnn", type=int, default=5, help="seeds of the CNN (default: 5)")
    parser.add_argument(
        "--mobilenet", type=int, default=3, help="seeds of the MobileNet (default: 3)"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: run_seeds(arguments.cnn, arguments.mobilenet))


def run_seeds(cnn: int, mobilenet: int) -> None:
    """Train, gather, write.

    Args:
        cnn: how many seeds, from 0.
        mobilenet: how many seeds, from 0.

    Raises:
        UserError: a number is below 1, or an experiment failed.
    """
    if min(cnn, mobilenet) < 1:
        raise UserError(f"--cnn {cnn} --mobilenet {mobilenet}: at least 1 seed each is needed")
    rows = []
    for seed in range(max(cnn, mobilenet)):
        seeds = {"cnn": seed} if seed < cnn else {}
        seeds |= {"mobilenet": seed} if seed < mobilenet else {}
        name = f"seed-{seed}"
        run_experiment(name, seeds)
        measured = {"baseline": 0} | seeds if seed == 0 else seeds
        rows += [row_of(name, model, model_seed) for model, model_seed in measured.items()]
        _call("dvc", "exp", "remove", name)
    table = pd.DataFrame(rows)
    write_csv(TABLE, table)
    write_json(SEEDS, summary(table))


def run_experiment(name: str, seeds: dict[str, int]) -> None:
    """Run the pipeline with some seeds, as an experiment in a copy of the project."""
    settings = [f"--set-param={model}.seed={seed}" for model, seed in seeds.items()]
    print(f"seeds: {name}: {settings}", flush=True)
    if _is_there(name):  # left by a run that was interrupted
        _call("dvc", "exp", "remove", name)
    # Not --force, which would compute again what the cache has.
    _call("dvc", "exp", "run", "--temp", "--name", name, *settings, show=True)
    if not _is_there(name):
        raise UserError(f"the experiment {name} left no result; see the lines above")


def row_of(revision: str, model: str, seed: int) -> dict[str, object]:
    """What an experiment measured of a model."""
    training = _metrics_at(revision, f"metrics/{TRAINING_STAGES[model]}.json")
    test = _metrics_at(revision, str(EVALUATION))[model]
    return {
        "model": model,
        "seed": seed,
        "train_accuracy": training["train"]["accuracy"],
        "validation_accuracy": training["validation"]["accuracy"],
        "test_accuracy": test["accuracy"],
    }


def _metrics_at(revision: str, path: str) -> dict[str, Any]:
    content = file_at(find_commit(revision), path)
    if content is None:
        raise UserError(f"{revision}: has no {path}; look at what its stages said")
    return numbers_in(content, f"{revision}: {path}", "run the seeds again")


def summary(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Mean, deviation, lowest and highest of each measure.

    Args:
        table: columns model, seed, train_accuracy, validation_accuracy, test_accuracy.

    Returns:
        By model: `n`, and by measure mean, std (of the sample, n - 1; 0 for one seed), min, max.
    """
    report: dict[str, dict[str, object]] = {}
    for model, rows in table.groupby("model", sort=False):
        report[str(model)] = {"n": len(rows)}
        for measure in MEASURES:
            values = rows[measure]
            report[str(model)][measure] = {
                "mean": float(values.mean()),
                "std": float(values.std()) if len(values) > 1 else 0.0,
                "min": float(values.min()),
                "max": float(values.max()),
            }
    return report


def _is_there(experiment: str) -> bool:
    return any(each.kind == "experiment" and each.name == experiment for each in references())


def _call(*command: str, show: bool = False) -> str:
    """Run a program; with `show`, its output goes to the terminal."""
    finished = subprocess.run(  # noqa: S603  # arguments of our own, and no shell
        command, text=True, stdout=sys.stderr if show else subprocess.PIPE, check=False
    )
    if finished.returncode:
        raise UserError(f"`{' '.join(command)}` failed; see the lines above")
    return finished.stdout or ""


if __name__ == "__main__":
    main()
