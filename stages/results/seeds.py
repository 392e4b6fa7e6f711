"""What another seed would do: trainings with several seeds, and whether a difference is more.

A network that is trained anew comes out a little different, whatever was changed. How much is in
metrics/seeds.csv, which `make seeds` writes: a row a model and seed. Each names its computation by
`LockEntry.inputs_key`, so that for any revision it can be told which rows are of its own code,
settings and data, and which are stale.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, stdev, variance
from typing import NamedTuple

from scipy.special import stdtrit

from stages.data.errors import UserError
from stages.models.names import MODELS
from stages.workflow.pipeline import LOCK_FILE, LockEntry

SEEDS = "metrics/seeds.csv"
MEASURES = ("train_accuracy", "validation_accuracy", "test_accuracy", "test_brier")
REMEDY = "run `make seeds`"
STALE = f"other code, settings or data than {LOCK_FILE} records"


class Training(NamedTuple):
    """What a training with one seed came to, and of which computation it is."""

    model: str
    seed: int
    computation: str
    measures: dict[str, float]


@dataclass(frozen=True)
class AnotherSeed:
    """A difference, and the least that is more than another seed would do.

    Attributes:
        difference: head less base: of the two trainings, or of the means over seeds of both sides.
        needed: the least size of it that counts.
        std: over the seeds of one side; None if the means of both are compared.
        seeds: how many of base and of head were taken; none where a seed changes nothing.
        is_paired: whether the means are compared seed by seed.
    """

    difference: float
    needed: float
    std: float | None
    seeds: tuple[int, int] = (0, 0)
    is_paired: bool = False

    def confirms(self, difference: float) -> bool:
        """Whether there is more to a difference on the test images than another seed would do."""
        return abs(self.difference) > self.needed and self.difference * difference > 0


def trainings_in(content: bytes) -> list[Training]:
    """The rows of a table of seeds; an older one lacks the computation and the Brier score.

    Raises:
        UserError: it is no such table, or a row is damaged.
    """
    found = []
    lines = content.decode(errors="replace").splitlines()
    for number, row in enumerate(csv.DictReader(lines), start=2):
        try:
            measures = {name: float(row[name]) for name in MEASURES if name in row}
            seed, computation = int(row["seed"]), row.get("computation", "")
            found.append(Training(row["model"], seed, computation, measures))
        except (KeyError, TypeError, ValueError):
            what = f"line {number}: is cut off or not as such lines are"
            raise UserError(f"{SEEDS}: {what}; {REMEDY}") from None
    return found


def by_model(trainings: Iterable[Training]) -> dict[str, list[Training]]:
    """The trainings of each model."""
    found: dict[str, list[Training]] = {}
    for training in trainings:
        found.setdefault(training.model, []).append(training)
    return found


def is_fresh(training: Training, lock: Mapping[str, LockEntry]) -> bool:
    """Whether a training is, apart from its seed, the one that dvc.lock records."""
    entry = _entry(training.model, lock)
    return entry is not None and training.computation == _key_with(entry, training.seed)


def fresh_values(
    trainings: Iterable[Training], lock: Mapping[str, LockEntry], model: str, measure: str
) -> dict[int, float]:
    """By seed, a measure of a model, of the trainings that are not stale."""
    return {
        row.seed: row.measures[measure]
        for row in trainings
        if row.model == model and measure in row.measures and is_fresh(row, lock)
    }


def stale_seeds(trainings: Iterable[Training], lock: Mapping[str, LockEntry]) -> str:
    """Which trainings are stale, in a sentence that says what to do; empty if none is."""
    found = []
    for model, rows in by_model(trainings).items():
        if stale := sum(not is_fresh(row, lock) for row in rows):
            found.append(f"{model} ({stale} of {len(rows)})")
    return f"{SEEDS}: stale are {', '.join(found)}, of {STALE}; {REMEDY}" if found else ""


def has_seed(model: str, *locks: Mapping[str, LockEntry]) -> bool:
    """Whether another seed may change a model, as far as the locks tell."""
    entries = [_entry(model, lock) for lock in locks]
    return any(entry is None or _seed_param(entry) for entry in entries)


def same_but_for_seed(model: str, *locks: Mapping[str, LockEntry]) -> bool:
    """Whether the training of a model reads the same, apart from the seed."""
    entries = [_entry(model, lock) for lock in locks]
    return len({entry and _key_with(entry, 0) for entry in entries}) == 1


def another_seed(
    base: Mapping[int, float], head: Mapping[int, float], difference: float, level: float
) -> AnotherSeed | None:
    """What another seed would do to a difference, by a t test, two-sided.

    Where both sides have seeds their means are compared: paired (Student) where they are the same
    seeds, otherwise by the test of B. L. Welch, Biometrika 34 (1947). Where one side has, two
    trainings that differ by their seed alone are apart by N(0, 2 σ²), and σ is estimated from n.

    Args:
        base: a measure of the model by seed; on both sides only if they are trained otherwise.
        head: the same of the other side.
        difference: head less base, of the two trainings.
        level: of the test.

    Returns:
        None if neither side has two seeds.
    """
    counts = len(base), len(head)
    if max(counts) < 2:
        return None
    if min(counts) < 2:
        taken = (counts[0], 0) if counts[0] > 1 else (0, counts[1])
        std = stdev((base if taken[0] else head).values())
        reach = _reach(max(taken) - 1, math.sqrt(2) * std, level)
        return AnotherSeed(difference, reach, std, taken)
    means = fmean(head.values()) - fmean(base.values())
    if base.keys() == head.keys():
        error = stdev(head[seed] - base[seed] for seed in base) / math.sqrt(counts[0])
        return AnotherSeed(means, _reach(counts[0] - 1, error, level), None, counts, is_paired=True)
    squares = [variance(side.values()) / len(side) for side in (base, head)]
    parts = sum(square**2 / (n - 1) for square, n in zip(squares, counts, strict=True))
    degrees = sum(squares) ** 2 / parts if parts else 1.0
    return AnotherSeed(means, _reach(degrees, math.sqrt(sum(squares)), level), None, counts)


def _reach(degrees: float, error: float, level: float) -> float:
    """Half the width of a t interval; stdtrit is there in a tenth of the time of scipy.stats."""
    return float(stdtrit(degrees, 1 - level / 2)) * error


def _entry(model: str, lock: Mapping[str, LockEntry]) -> LockEntry | None:
    return lock.get(MODELS[model].stage) if model in MODELS else None


def _seed_param(entry: LockEntry) -> str | None:
    return next((name for name in entry.params if name.endswith(".seed")), None)


def _key_with(entry: LockEntry, seed: int) -> str:
    """Names what would go in with another seed."""
    name = _seed_param(entry)
    return replace(entry, params=entry.params | ({name: seed} if name else {})).inputs_key
