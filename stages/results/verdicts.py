"""Whether a model is better or worse than another, or than it was, on the same test images.

Of two trainings of a model this is two questions: do they differ on these images, and is that more
than another seed would do? Only where both say so it is better or worse.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from stages.models.names import LOWER_IS_BETTER
from stages.results.predictions import Predictions, why_not_paired
from stages.results.reading import TEST_IMAGES, Results
from stages.results.seeds import (
    AnotherSeed,
    another_seed,
    fresh_values,
    has_seed,
    same_but_for_seed,
)
from stages.results.text import NOT_MEASURED, capital, p_value, points
from stages.statistics.intervals import wilson
from stages.statistics.paired import (
    PairedDifference,
    brier_scores,
    holm,
    paired_comparison,
    paired_difference,
)

ACCURACY, BRIER = "accuracy", "brier"
# "differs": on these images, but another seed would do as much; "open": no seeds tell if it would.
Kind = Literal[
    "better", "worse", "differs", "open", "no evidence", "same", "not compared", "not measured"
]


class Measured(NamedTuple):
    """A value, and its 95 % interval if there is one."""

    value: float
    ci: tuple[float, float] | None


@dataclass(frozen=True)
class Verdict:
    """A measure of a model on both sides, and whether its difference is more than chance.

    Attributes:
        model: name of the model.
        measure: accuracy or brier.
        kind: what is said of it; `same` if all predictions, or all probabilities, are.
        base, head: on each side; None if it was not measured.
        test: head less base on the same images; None if they are not compared.
        corrected_p: its p value, corrected over the models that changed (Holm).
        another_seed: what that would do; None if they are not compared, or no seeds tell.
    """

    model: str
    measure: str
    kind: Kind
    base: Measured | None
    head: Measured | None
    test: PairedDifference | None = None
    corrected_p: float | None = None
    another_seed: AnotherSeed | None = None

    @property
    def is_loss(self) -> bool:
        """Whether head is worse as measured, be it by chance."""
        return self.test is not None and direction(self.test.difference, self.measure) == "worse"


@dataclass(frozen=True)
class Flip:
    """A photo, by its number among the test images, whose prediction turned right or wrong."""

    model: str
    index: int | str
    actual: str
    base: str
    head: str

    @property
    def to_right(self) -> bool:
        """Whether the prediction is right now."""
        return self.head == self.actual


# Of base and head, for the same images in the same order.
Pair = tuple[Predictions, Predictions]


def pair_up(base: Results, head: Results) -> tuple[Pair | None, str]:
    """The predictions of both sides if they are of the same images, else why they are not."""
    if base.predictions is None or head.predictions is None:
        side = base if base.predictions is None else head
        return None, f"there are no predictions {side.place} that can be read"
    reason = why_not_paired(base.predictions, head.predictions)
    before, after = base.test_images_md5, head.test_images_md5
    if not reason and before and after and before != after:
        reason = f"{TEST_IMAGES} is another file by the dvc.lock of each"
    if reason:
        return None, f"the test sets differ: {reason}"
    return (base.predictions, head.predictions), ""


def judge(base: Results, head: Results, pair: Pair | None, alpha: float) -> list[Verdict]:
    """Judge accuracy and Brier score of each model that both sides have.

    The level of the tests is alpha, for each measure corrected over the models that changed: by
    Holm on the images, by Bonferroni over seeds, where what is needed is then one number. If
    nothing but seeds differ, the chance that any model is called worse, by one measure or the
    other, is at most alpha: each has one of the two tails for it. What is not paired has what each
    side measured by itself.
    """
    models = [model for model in head.models if model in base.models]
    seeded = {model for model in models if has_seed(model, base.lock, head.lock)}
    found = []
    for measure in (ACCURACY, BRIER):
        tests = {model: _test(pair, model, measure) for model in models}
        # A model that is the same cannot seem to differ by chance, so it is no test.
        p_values = {
            model: test.p
            for model, test in tests.items()
            if pair and test and not _is_same(pair, model, measure)
        }
        corrected = dict(zip(p_values, holm([*p_values.values()]), strict=True))
        level = alpha / max(1, len(seeded & corrected.keys()))
        for model, test in tests.items():
            p = corrected.get(model, 1.0) if test else None
            kind: Kind = "same" if test else "not compared"
            another = None
            if test and model in corrected:
                another = AnotherSeed(test.difference, 0.0, 0.0)  # where no seed changes anything
                if model in seeded:
                    another = _another_seed(base, head, model, measure, test.difference, level)
                kind = kind_of(test.difference, corrected[model], alpha, measure)
                if kind != "no evidence" and not (another and another.confirms(test.difference)):
                    kind = "differs" if another else "open"
            before, after = (_measured(side, model, measure) for side in (base, head))
            found.append(Verdict(model, measure, kind, before, after, test, p, another))
    return found


def _another_seed(
    base: Results, head: Results, model: str, measure: str, difference: float, level: float
) -> AnotherSeed | None:
    """What another seed would do, by the seeds of both sides that are not stale."""
    before, after = (
        fresh_values(side.seeds, side.lock, model, f"test_{measure}") for side in (base, head)
    )
    if same_but_for_seed(model, base.lock, head.lock):
        before, after = (before, {}) if len(before) > 1 else ({}, after)
    return another_seed(before, after, difference, level)


def kind_of(difference: float, p: float, alpha: float, measure: str = ACCURACY) -> Kind:
    """What a difference on the same images says at a level of the test."""
    return "no evidence" if p >= alpha or difference == 0 else direction(difference, measure)


def direction(difference: float, measure: str) -> Kind:
    """Whether a difference other than zero is for the better or the worse."""
    return "better" if (difference < 0) == (measure in LOWER_IS_BETTER) else "worse"


def sentence_on(
    first: str,
    second: str,
    test: PairedDifference | None,
    kind: Kind,
    images: int,
    correction: str = "",
) -> str:
    """What a difference of accuracies says, with the numbers.

    Args:
        first: noun of the first model.
        second: noun of the second.
        test: first less second; None if it was not measured.
        kind: what it says.
        images: how many test images.
        correction: clause on the corrected p value, if there were several tests.
    """
    if test is None:
        return f"{capital(first)} against {second}: {NOT_MEASURED} on the same images."
    difference, ci = test.difference, test.ci
    is_fewer = kind != "no evidence" and difference < 0
    if is_fewer:
        difference, ci = -difference, ci and (-ci[1], -ci[0])
    size = f"{points(difference)} points{' fewer' if is_fewer else ''}"
    size += f" ({points(ci[0])} to {points(ci[1])})" if ci else f" (interval {NOT_MEASURED})"
    said = f"{capital(first)} is {kind} than {second}"
    if kind == "no evidence":
        said = f"There is no evidence of a difference between {first} and {second}"
    elif kind in ("differs", "open"):
        but = ", but another seed would do as much" if kind == "differs" else ""
        said = f"{capital(first)} differs from {second}{but}"
    evidence = f"exact McNemar {p_value(test.p)}{correction}"
    return f"{said}: {size} on the same {images:,} test images; {evidence}."


def flips(pair: Pair) -> list[Flip]:
    """Images whose prediction turned right or wrong, by model and number of the image."""
    before, after = pair
    found = []
    for model in (each for each in after.predicted if each in before.predicted):
        turned = before.is_right(model) != after.is_right(model)
        columns = (after.indices, after.actual, before.predicted[model], after.predicted[model])
        rows = zip(*(column[turned].tolist() for column in columns), strict=True)
        found += [Flip(model, *row) for row in rows]
    return found


def _scores(predictions: Predictions | None, model: str, measure: str) -> np.ndarray | None:
    """Of each image whether it is right, or its Brier score; None without such predictions."""
    if predictions is None:
        return None
    if measure == ACCURACY:
        return predictions.is_right(model) if model in predictions.predicted else None
    probabilities = predictions.probabilities.get(model)
    return None if probabilities is None else brier_scores(predictions.labels, probabilities)


def _test(pair: Pair | None, model: str, measure: str) -> PairedDifference | None:
    """Head less base; None if a side does not have what it takes."""
    before, after = (_scores(side, model, measure) for side in pair or (None, None))
    if before is None or after is None:
        return None
    compare = paired_comparison if measure == ACCURACY else paired_difference
    return compare(after, before)


def _is_same(pair: Pair, model: str, measure: str) -> bool:
    values = "predicted" if measure == ACCURACY else "probabilities"
    before, after = (getattr(side, values)[model] for side in pair)
    # Classes may stand in another order: then all columns do, and nothing is the same.
    return pair[0].classes == pair[1].classes and np.array_equal(before, after)


def _measured(side: Results, model: str, measure: str) -> Measured | None:
    """From the predictions, which have all, else from the metrics."""
    scores = _scores(side.predictions, model, measure)
    if scores is not None:
        ci = wilson(int(scores.sum()), len(scores)) if measure == ACCURACY else None
        return Measured(float(scores.mean()), ci)
    value, low, high = (side.tested(model, measure + end) for end in ("", "_ci_low", "_ci_high"))
    ci = None if low is None or high is None else (low, high)
    return None if value is None else Measured(value, ci)
