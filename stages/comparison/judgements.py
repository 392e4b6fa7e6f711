"""Whether a model is better or worse than it was, by what it answers to the same images."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from stages.comparison.predictions import Predictions, why_not_paired
from stages.comparison.sides import TEST_IMAGES, Side
from stages.statistics.intervals import wilson
from stages.statistics.multiple import holm
from stages.statistics.paired import paired_comparison
from stages.statistics.paired_scores import PairedDifference, brier_scores, paired_difference

ACCURACY, BRIER = "accuracy", "brier"
Kind = Literal["better", "worse", "no evidence", "same", "not compared"]


@dataclass(frozen=True)
class Measured:
    """A value, and its 95 % interval if there is one."""

    value: float
    ci: tuple[float, float] | None


@dataclass(frozen=True)
class Judgement:
    """A measure of a model on both sides, and whether its difference is more than chance.

    Attributes:
        model: name of the model.
        measure: accuracy or brier.
        kind: what is said of it; `same` if all answers, or all probabilities, are.
        base: on the base side; None if it was not measured.
        head: on the head side.
        paired: head less base on the same images; None if they are not compared.
        corrected_p: its p value, corrected over the models that changed (Holm).
    """

    model: str
    measure: str
    kind: Kind
    base: Measured | None
    head: Measured | None
    paired: PairedDifference | None = None
    corrected_p: float | None = None


@dataclass(frozen=True)
class Flip:
    """An image whose answer turned from right to wrong, or from wrong to right.

    Attributes:
        model: name of the model.
        index: number of the image among CIFAR-10's test images.
        actual: its class.
        base: the answer on the base side.
        head: the answer on the head side.
    """

    model: str
    index: int
    actual: str
    base: str
    head: str

    @property
    def to_right(self) -> bool:
        """Whether the answer is right now."""
        return self.head == self.actual


class Pair(NamedTuple):
    """Predictions of both sides for the same images in the same order."""

    base: Predictions
    head: Predictions


def pair_up(base: Side, head: Side) -> tuple[Pair | None, str]:
    """The predictions of both sides if they are of the same images, else why they are not."""
    if base.predictions is None or head.predictions is None:
        side = base if base.predictions is None else head
        return None, f"there are no predictions {side.endpoint.place} that can be read"
    pair = Pair(base.predictions, head.predictions)
    if reason := why_not_paired(*pair):
        return None, f"the test sets differ: {reason}"
    before, after = base.test_images_md5, head.test_images_md5
    if before and after and before != after:
        return None, f"the test sets differ: {TEST_IMAGES} is another file by the dvc.lock of each"
    return pair, ""


def judge(base: Side, head: Side, pair: Pair | None, alpha: float) -> list[Judgement]:
    """Judge accuracy and Brier score of each model that both sides have.

    Args:
        base: the side before.
        head: the side after.
        pair: their predictions for the same images; None if there are none.
        alpha: level of the tests, for each measure corrected over the models that changed.

    Returns:
        By measure and model; what is not paired has what each side measured by itself.
    """
    models = [model for model in head.models if model in base.models]
    found = []
    for measure in (ACCURACY, BRIER):
        paired = {model: _compare(pair, model, measure) for model in models}
        # A model that is the same cannot seem to differ by chance, so it is no test.
        tested = {
            model: test
            for model, test in paired.items()
            if pair and test and not _is_same(pair, model, measure)
        }
        p_values = dict(zip(tested, holm([test.p for test in tested.values()]), strict=True))
        for model in models:
            values = (_measured(base, model, measure), _measured(head, model, measure))
            kind: Kind = "same" if paired[model] else "not compared"
            p = 1.0 if paired[model] else None
            if model in tested:
                p = p_values[model]
                kind = _kind(measure, tested[model].difference, p, alpha)
            found.append(Judgement(model, measure, kind, *values, paired[model], p))
    return found


def _compare(pair: Pair | None, model: str, measure: str) -> PairedDifference | None:
    """Head less base; None if a side does not have what it takes."""
    if pair is None or not all(model in side.answers for side in pair):
        return None
    if measure == ACCURACY:
        test = paired_comparison(pair.head.is_right(model), pair.base.is_right(model))
        return PairedDifference(
            test.accuracy_difference,
            test.accuracy_difference_ci_low,
            test.accuracy_difference_ci_high,
            test.mcnemar_p,
        )
    if not all(model in side.probabilities for side in pair) or len(pair.head) < 2:
        return None
    return paired_difference(_brier(pair.head, model), _brier(pair.base, model))


def _brier(predictions: Predictions, model: str) -> np.ndarray:
    return brier_scores(predictions.labels, predictions.probabilities[model])


def _is_same(pair: Pair, model: str, measure: str) -> bool:
    values = "answers" if measure == ACCURACY else "probabilities"
    before, after = (getattr(side, values)[model] for side in pair)
    # Classes may stand in another order: then all columns do, and nothing is the same.
    return pair.base.classes == pair.head.classes and np.array_equal(before, after)


def _kind(measure: str, difference: float, p: float, alpha: float) -> Kind:
    if p >= alpha or difference == 0:
        return "no evidence"
    return "better" if (difference > 0) == (measure == ACCURACY) else "worse"


def _measured(side: Side, model: str, measure: str) -> Measured | None:
    """From the predictions, which have all, else from the metrics."""
    predictions = side.predictions
    if predictions and measure == ACCURACY and model in predictions.answers:
        right, n = int(predictions.is_right(model).sum()), len(predictions)
        return Measured(right / n, wilson(right, n))
    if predictions and measure == BRIER and model in predictions.probabilities:
        return Measured(float(_brier(predictions, model).mean()), None)
    value = side.tested(model, measure)
    low, high = (side.tested(model, f"{measure}_ci_{end}") for end in ("low", "high"))
    ci = None if low is None or high is None else (low, high)
    return None if value is None else Measured(value, ci)


def flips(pair: Pair) -> list[Flip]:
    """Images whose answer turned right or wrong, by model and number of the image."""
    before, after = pair
    return [
        Flip(
            model,
            int(after.indices[row]),
            str(after.actual[row]),
            str(before.answers[model][row]),
            str(after.answers[model][row]),
        )
        for model in after.answers
        if model in before.answers
        for row in np.flatnonzero(before.is_right(model) != after.is_right(model))
    ]
