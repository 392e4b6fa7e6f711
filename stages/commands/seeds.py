"""Train with several seeds through the pipeline: what another seed would do to a result.

Each seed is a DVC experiment in a copy of the project (`dvc exp run --temp`), so that the workspace
stays as it is and no stage runs that does not hang on the seed. Writes metrics/seeds.csv: a row a
model and seed, with the key of its computation, by which a stale row is known. The experiments are
removed afterwards, their runs stay in MLflow.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from stages.data.errors import UserError
from stages.models.names import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--cnn", type=int, default=5, help="seeds of the CNN (default: 5)")
    parser.add_argument(
        "--mobilenet", type=int, default=3, help="seeds of the MobileNet (default: 3)"
    )


def run(options: argparse.Namespace) -> None:
    """Train, gather, write.

    Raises:
        UserError: a number is below 1, or an experiment failed.
    """
    import pandas as pd

    from stages.data.files import write_csv
    from stages.results.seeds import SEEDS

    counts = {"cnn": options.cnn, "mobilenet": options.mobilenet}
    if min(counts.values()) < 1:
        told = " ".join(f"--{model} {count}" for model, count in counts.items())
        raise UserError(f"{told}: at least 1 seed each is needed")
    rows = []
    for seed in range(max(counts.values())):
        models = [model for model, count in counts.items() if seed < count]
        name = f"seed-{seed}"
        run_experiment(name, [f"{model}.seed={seed}" for model in models])
        rows += [row_of(name, model, seed) for model in (["baseline"] * (seed == 0)) + models]
        remove_experiment(name)
    write_csv(Path(SEEDS), pd.DataFrame(rows))


def run_experiment(name: str, params: list[str]) -> None:
    """Run the pipeline with some params, each `key=value`, as an experiment in a copy."""
    print(f"seeds: {name}: {' '.join(params)}", flush=True)
    if _is_there(name):  # left by a run that was interrupted
        remove_experiment(name)
    # Not --force, which would run the stages that do not change, too.
    options = [f"--set-param={param}" for param in params]
    _call("dvc", "exp", "run", "--temp", "--name", name, *options)
    if not _is_there(name):
        raise UserError(f"the experiment {name} left no result; see the lines above")


def remove_experiment(name: str) -> None:
    """Remove an experiment; its runs stay in MLflow."""
    _call("dvc", "exp", "remove", name)


def row_of(experiment: str, model: str, seed: int) -> dict[str, object]:
    """A row of the table: what an experiment measured of a model, and of which computation."""
    from stages.data.splits import SPLIT_NAMES
    from stages.results.reading import EVALUATION
    from stages.workflow.revisions import find_revision

    revision, stage = find_revision(experiment), MODELS[model].stage
    tested = revision.numbers(EVALUATION)[model]
    measured = {**revision.numbers(f"metrics/{stage}.json"), "test": tested}
    return {
        "model": model,
        "seed": seed,
        "computation": revision.lock[stage].inputs_key,
        **{f"{split}_accuracy": measured[split]["accuracy"] for split in SPLIT_NAMES},
        "test_brier": tested["brier"],
    }


def _is_there(experiment: str) -> bool:
    from stages.workflow.revisions import named_revisions

    found = named_revisions()
    return any(each.kind == "experiment" and each.name == experiment for each in found)


def _call(*command: str) -> None:
    """Run a program, its output to the terminal."""
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:  # noqa: S603  # no shell
        raise UserError(f"`{' '.join(command)}` failed; see the lines above")
