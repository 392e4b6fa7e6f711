"""How often the gate fails what only another seed made worse, and whether it catches real losses.

    python -m benchmarks.gate            # seconds: by metrics/seeds.csv, and by chance
    python -m benchmarks.gate --losses   # also trains worse models, as experiments: half an hour

The former leave out the first question, whether the models differ on the images: it only lets more
pass. Drawn are n seeds, from which the spread is estimated, and the two trainings. The losses are
held against the workspace by the gate itself. Writes benchmarks/gate.json, which `make readme` puts
into docs/compare.md.
"""

import argparse
import itertools
import random
import statistics
from pathlib import Path
from typing import Any

from benchmarks.machine import measured_on, write_benchmark
from stages.commands.seeds import remove_experiment, run_experiment
from stages.models.names import MODELS
from stages.results.comparison import Comparison
from stages.results.gate import LOSSES, ROUNDING
from stages.results.seeds import SEEDS, another_seed, by_model, stale_seeds, trainings_in
from stages.results.verdicts import direction
from stages.workflow.params import Params, read_params
from stages.workflow.revisions import find_revision, workspace

RESULT = Path("benchmarks/gate.json")
TRIALS = 20_000
Spreads = dict[str, dict[str, list[float]]]  # by model and measure, its values over seeds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--losses", action="store_true", help="train worse models, too")
    options = parser.parse_args()
    params = read_params()
    trainings = trainings_in(workspace().read(SEEDS) or b"")
    if told := stale_seeds(trainings, workspace().lock):
        print(f"WARNING: {told}")
    seeds = {
        model: {
            measure: [each.measures[f"test_{measure}"] for each in rows]
            for measure in LOSSES.values()
            if f"test_{measure}" in rows[0].measures
        }
        for model, rows in by_model(trainings).items()
        if len(rows) > 1
    }
    allowed = {measure: getattr(params.gate, key) for key, measure in LOSSES.items()}
    rows = [pairs(model, of_model, allowed, params.gate.alpha) for model, of_model in seeds.items()]
    for what, may_lose in (("", allowed), (", were no loss allowed", dict.fromkeys(allowed, 0.0))):
        share = false_failures(seeds, may_lose, params.gate.alpha)
        rows.append(
            {
                "what": f"all retrained with another seed, drawn {TRIALS:,} times{what}",
                "outcome": f"{100 * share:.1f} % fail",
            }
        )
    if options.losses:
        rows += [loss(*each) for each in losses(params)]
    write_benchmark(RESULT, {**measured_on(), "rows": rows}, gate=table(rows))


def table(rows: list[dict[str, str]]) -> dict[str, Any]:
    """As it stands in the docs."""
    return {
        "caption": "What the gate does",
        "header": ["change", "at the gate"],
        "rows": [[each["what"], each["outcome"]] for each in rows],
        "words": [1],
    }


def pairs(
    model: str, seeds: dict[str, list[float]], allowed: dict[str, float], alpha: float
) -> dict[str, str]:
    """Each two of a model's seeds, one as base and one as head."""
    n = len(next(iter(seeds.values())))
    ordered = [*itertools.permutations(range(n), 2)]
    failed = sum(
        any(
            fails(m, values, values[b], values[a], allowed[m], alpha) for m, values in seeds.items()
        )
        for b, a in ordered
    )
    what = f"{MODELS[model].title}: another of its {n} seeds, all pairs in both orders"
    return {"what": what, "outcome": f"{failed} of {len(ordered)} fail"}


def false_failures(seeds: Spreads, allowed: dict[str, float], alpha: float) -> float:
    """Share of draws in which a model is called worse in some measure, the measures independent."""
    draw = random.Random(0)  # noqa: S311  # no secret
    spreads = [
        (measure, len(values), statistics.stdev(values))
        for of_model in seeds.values()
        for measure, values in of_model.items()
    ]

    def one(measure: str, n: int, std: float) -> bool:
        *drawn, base, head = (draw.gauss(0, std) for _ in range(n + 2))
        return fails(measure, drawn, base, head, allowed[measure], alpha / len(seeds))

    return sum(any(one(*each) for each in spreads) for _ in range(TRIALS)) / TRIALS


def fails(
    measure: str, seeds: list[float], base: float, head: float, allowed: float, level: float
) -> bool:
    """Whether a loss is more than is allowed, and more than another seed would do."""
    difference = head - base
    another = another_seed(dict(enumerate(seeds)), {}, difference, level)
    is_loss = difference and direction(difference, measure) == "worse"
    is_more = another is not None and another.confirms(difference)
    return bool(is_loss and is_more and abs(difference) > allowed + ROUNDING)


def losses(params: Params) -> list[tuple[str, list[str]]]:
    """What is to be caught, in words and as params."""
    cnn, mobilenet = params.cnn.chosen, params.mobilenet
    fewer = {
        f"cnn.{params.cnn.recipe}.epochs": cnn.epochs,
        "mobilenet.epochs": mobilenet.epochs,
        "mobilenet.head_epochs": mobilenet.head_epochs,
    }
    third = [f"{key}={max(1, epochs // 3)}" for key, epochs in fewer.items()]
    counts = workspace().numbers("metrics/prepare.json")
    images = sum(counts[split]["images"] for split in ("train", "validation"))
    images //= 4 * len(params.data.classes)
    return [
        ("the CNN with a third of the epochs", third[:1]),
        ("MobileNetV2 with a third of the epochs, rounded down", third[1:]),
        ("a quarter of the training images", [f"data.limit_per_class={images}"]),
    ]


def loss(what: str, changes: list[str]) -> dict[str, str]:
    """Train with some params, hold it against the workspace, and say which rules it breaks."""
    name = "gate-loss"
    run_experiment(name, changes)
    comparison = Comparison(workspace(), find_revision(name), reproduced=False)
    remove_experiment(name)
    broken = [rule.name.removeprefix("gate.") for rule in comparison.check.with_outcome("broken")]
    of_losses = [name for name in broken if name.startswith(tuple(LOSSES))]
    limits = len(broken) - len(of_losses)
    told = [*of_losses, *[f"{limits} of the floors and ceilings"] * bool(limits)]
    for _, sentence in comparison.sentences():
        print(f"- {sentence}")
    outcome = f"fails: {'; '.join(told)}" if told else "passes"
    return {"what": f"{what} ({', '.join(changes)})", "outcome": outcome}


if __name__ == "__main__":
    main()
