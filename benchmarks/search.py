"""Whether a search finds better settings than a grid that costs as much: a CNN, on few images.

    python -m benchmarks.search                       # about half an hour; writes search.json
    python -m benchmarks.search --seeds 1 --images 500   # less: prints it

Searched is what sweep.yaml searches of the CNN, in its ranges. The grid has two values of each
param, at a quarter and three quarters of the range. `sweep` proposes and prunes as `make sweep`
does, but does not know the values of params.yaml; it may train as many epochs as the grid has. Both
choose by the validation images; what each has chosen is trained three more times, with other seeds,
and judged on training images that it did not learn from. The CNN has a quarter of its filters, so
that a training takes seconds. No test image is read.
"""

import argparse
import itertools
import json
import statistics
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

from benchmarks.machine import measured_on, write_benchmark
from stages.data.errors import UserError
from stages.data.splits import Split, read_split
from stages.models.cnn import train_cnn
from stages.models.network import keras
from stages.statistics.classification import training_metrics
from stages.tracking.search import EPOCH_MEASURE, distributions, strategy
from stages.workflow.params import CnnRecipe, Params, read_params
from stages.workflow.sweeps import Sweep, Tried, read_sweep

RESULT = Path(__file__).with_suffix(".json")
SEEDS = 3
IMAGES = 2000
JUDGES = 4000  # images that nobody learned from, and nobody chose by
EPOCHS = 5
AGAIN = 3  # trainings of what was chosen
Values = dict[str, Any]


class Trainings:
    """The CNN, trained with some values, and how many epochs that took in all."""

    def __init__(self, sweep: Sweep, params: Params, images: int) -> None:
        """Take so many images to learn from, and others to judge by."""
        split = read_split("train")
        if images + JUDGES > len(split):
            raise UserError(f"--images: {images}; allowed: up to {len(split) - JUDGES:,}")
        order = np.random.default_rng(0).permutation(len(split))
        self.learning, self.judges = split.take(order[:images]), split.take(order[-JUDGES:])
        self.validation = read_split("validation")
        self._sweep = sweep
        recipe = params.cnn.chosen.model_dump()
        small = [each // 4 for each in recipe["filters"]]
        self._recipe = recipe | {"filters": small, "epochs": EPOCHS}
        self._image_size = params.data.image_size
        self.epochs = 0

    def measured(
        self, values: Values, seed: int, judges: Split, trial: optuna.Trial | None = None
    ) -> float:
        """The goal of the sweep, of a training, on some images.

        Raises:
            optuna.TrialPruned: the trial should end.
        """

        def report(epoch: int, measures: dict[str, float]) -> None:
            self.epochs += 1
            if trial:
                trial.report(measures[EPOCH_MEASURE], epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        changed = {key.rpartition(".")[2]: value for key, value in values.items()}
        recipe = CnnRecipe(**self._recipe | changed)
        keras.backend.clear_session()
        classifier, _ = train_cnn(
            *(self.learning, self.validation, recipe, seed, report),
            image_size=self._image_size,
            class_weights=None,
        )
        told = (judges.labels, classifier.predict(judges.images))
        return self._sweep.measure(training_metrics(train=told, validation=told))

    def best(self, proposed: Iterator[tuple[Values, optuna.Trial | None]], seed: int) -> Values:
        """Of all that are proposed, the values with the highest goal on the validation images."""
        found: list[tuple[float, Values]] = []
        for values, trial in proposed:
            try:
                value = self.measured(values, seed, self.validation, trial)
            except optuna.TrialPruned:
                trial.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            found.append((value, values))
            if trial:
                trial.study.tell(trial, value)
        return max(found, key=lambda each: each[0])[1]


def main() -> None:
    """Let both look, several times, and write what they found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how often each looks")
    parser.add_argument("--images", type=int, default=IMAGES, help="to learn from")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    where, sweep, params = measured_on(), read_sweep("sweep.yaml"), read_params()
    trainings = Trainings(sweep, params, options.images)
    grid = [
        dict(zip(sweep.params, values, strict=True))
        for values in itertools.product(*map(quarters, sweep.params.values()))
    ]
    ways: dict[str, Callable[[int], Iterator[tuple[Values, optuna.Trial | None]]]] = {
        "grid": lambda _: ((values, None) for values in grid),
        "sweep": lambda seed: proposals(sweep, trainings, len(grid) * EPOCHS, **strategy(seed)),
    }
    rows = []
    for seed, (way, propose) in itertools.product(range(options.seeds), ways.items()):
        trainings.epochs = 0
        values = trainings.best(propose(seed), seed)
        epochs = trainings.epochs
        goals = [
            trainings.measured(values, 1000 + AGAIN * seed + again, trainings.judges)
            for again in range(AGAIN)
        ]
        rows.append(
            {
                "way": way,
                "seed": seed,
                "epochs": epochs,
                sweep.goal.partition(".")[2]: round(statistics.mean(goals), 5),
                "values": values,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    result = {**where, "goal": sweep.goal, **summary(rows, sweep)}
    if (options.seeds, options.images) == (SEEDS, IMAGES):
        write_benchmark(RESULT, result | {"rows": rows}, search=table(result, options.seeds))
    else:
        print(json.dumps(result, indent=1))


def table(result: dict[str, Any], seeds: int) -> dict[str, Any]:
    """As it stands in the docs."""
    rows = []
    for way in ("grid", "sweep"):
        found = result[way]
        mean, low, high = found.get("better_than_grid", [0.0, 0.0, 0.0])
        better = f"{mean:+.4f} ({low:+.4f} to {high:+.4f})" if way != "grid" else "–"
        rows.append([way, f"{found['epochs']:.0f}", f"{found['mean']:.4f}", better])
    header = ["way", "epochs trained", f"{result['goal'].partition('.')[2]} of unseen images"]
    header += ["better than the grid (95 %)"]
    caption = f"A CNN with a quarter of the filters on {IMAGES:,} images, mean of {seeds} searches"
    return {"caption": caption, "header": header, "rows": rows}


def quarters(tried: Tried) -> list[Any]:
    """Two values of a param: at a quarter and three quarters of its range, or the outer choices."""
    if tried.choices is not None:
        return [tried.choices[0], tried.choices[-1]]
    space = np.geomspace if tried.log else np.linspace
    found = space(tried.low, tried.high, 5)[[1, 3]]
    return [type(tried.low)(each) for each in found]


def proposals(
    sweep: Sweep, trainings: Trainings, most_epochs: int, **strategy: Any
) -> Iterator[tuple[Values, optuna.Trial]]:
    """What Optuna proposes, until so many epochs were trained."""
    study = optuna.create_study(direction="maximize", **strategy)
    ranges = distributions(sweep)
    while trainings.epochs < most_epochs:
        trial = study.ask(ranges)
        yield (
            {
                key: json.loads(value) if sweep.params[key].choices else value
                for key, value in trial.params.items()
            },
            trial,
        )


def summary(rows: list[dict[str, Any]], sweep: Sweep) -> dict[str, Any]:
    """Means, and how much better than the grid each was, seed by seed, with its 95 % interval."""
    measure = sweep.goal.partition(".")[2]
    found = {
        way: [row[measure] for row in rows if row["way"] == way]
        for way in dict.fromkeys(row["way"] for row in rows)
    }
    result: dict[str, Any] = {}
    for way, values in found.items():
        better = np.subtract(values, found["grid"])
        result[way] = {
            "mean": round(statistics.mean(values), 5),
            "epochs": statistics.mean(row["epochs"] for row in rows if row["way"] == way),
        }
        if way != "grid" and len(values) > 1:
            mean, spread = better.mean(), stats.sem(better)
            interval = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=spread)
            result[way]["better_than_grid"] = [round(float(each), 5) for each in (mean, *interval)]
    return result


if __name__ == "__main__":
    main()
