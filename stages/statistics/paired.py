"""Comparing two classifiers on the same images: by accuracy, or by a score of each image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.special import bdtr

from stages.statistics.intervals import NORMAL_975

RESAMPLES = 10_000
SEED = 0
COUNTS = ("both_right", "only_first_right", "only_second_right", "both_wrong")


@dataclass(frozen=True)
class PairedDifference:
    """How two classifiers differ on the same images.

    Attributes:
        difference: mean of the first minus mean of the second; of accuracies, or of a score.
        ci: 95 % interval of it; None if it was not measured.
        p: p value of the hypothesis that both are as good.
        counts: of accuracies, on how many images both, one or none is right, as in `COUNTS`.
    """

    difference: float
    ci: tuple[float, float] | None
    p: float
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float | int]:
        """A difference of accuracies as metrics/evaluate.json has it."""
        low, high = self.ci or (math.nan, math.nan)
        return {
            "accuracy_difference": self.difference,
            "accuracy_difference_ci_low": low,
            "accuracy_difference_ci_high": high,
            "mcnemar_p": self.p,
            **self.counts,
        }

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> Self | None:
        """The same, read again; None if the difference or its p value is not there."""
        if not {"accuracy_difference", "mcnemar_p"} <= metrics.keys():
            return None
        low, high = (metrics.get(f"accuracy_difference_ci_{end}") for end in ("low", "high"))
        ci = None if low is None or high is None else (low, high)
        counts = {name: int(metrics[name]) for name in COUNTS if name in metrics}
        return cls(metrics["accuracy_difference"], ci, metrics["mcnemar_p"], counts)


def paired_comparison(first_is_right: np.ndarray, second_is_right: np.ndarray) -> PairedDifference:
    """Compare the accuracies of two classifiers by the images on which they differ.

    Args:
        first_is_right: bool [n], whether the first classifier is right on each image.
        second_is_right: bool [n], the second one on the same images in the same order.
    """
    only_first = int(np.sum(first_is_right & ~second_is_right))
    only_second = int(np.sum(second_is_right & ~first_is_right))
    both = int(np.sum(first_is_right & second_is_right))
    n = len(first_is_right)
    counts = (both, only_first, only_second, n - both - only_first - only_second)
    return PairedDifference(
        (only_first - only_second) / n,
        _difference_interval(only_first, only_second, n),
        mcnemar(only_first, only_second),
        dict(zip(COUNTS, counts, strict=True)),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """P value of the exact McNemar test: were both as good, each difference is a coin's toss.

    Two-sided. Source: Q. McNemar, Psychometrika 12 (1947); the exact form by the binomial
    distribution.

    Args:
        only_first: images on which the first classifier alone is right.
        only_second: images on which the second alone is right.
    """
    differing = only_first + only_second
    # Both tails are alike. This function of scipy.special is there in a tenth of the time of
    # scipy.stats.
    tail = bdtr(min(only_first, only_second), differing, 0.5)
    return min(1.0, 2 * float(tail))


def _difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """95 % interval of the difference, by the percentiles of bootstrap resamples.

    Each image gives +1, -1 or 0, so that drawing n of them with replacement is drawing how often
    each comes from the multinomial distribution: the same resamples, 500 times as fast.

    Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    shares = np.array([only_first, only_second, n - only_first - only_second]) / n
    drawn = np.random.default_rng(SEED).multinomial(n, shares, size=RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / n, [2.5, 97.5])
    return float(low), float(high)


def brier_scores(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Squared error of the probabilities of each image; its mean is `brier` in the metrics.

    Args:
        labels: int [n].
        probabilities: float [n, classes].

    Returns:
        float [n]: summed over the classes if there are more than two, else that of one class
        (Brier, 1950, halved).
    """
    truth = np.eye(probabilities.shape[1])[labels]
    summed: np.ndarray = ((probabilities - truth) ** 2).sum(axis=1)
    if probabilities.shape[1] == 2:
        summed /= 2
    return summed


def paired_difference(first: np.ndarray, second: np.ndarray) -> PairedDifference:
    """Compare the means of a score on the same images, by the normal approximation.

    The mean of so many differences is close to normal whatever they are, so that this is the paired
    t-test for large n: with 400 images its p value is within 0.001 of that, with 2,000 within
    0.0002. Two-sided.

    Args:
        first: float [n], at least two, the score of each image by the first classifier.
        second: float [n], by the second one on the same images in the same order.
    """
    differences = first - second
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    reach = NORMAL_975 * error
    p = math.erfc(abs(mean) / error / math.sqrt(2)) if error else float(mean == 0)
    return PairedDifference(mean, (mean - reach, mean + reach), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for how many there are, by Holm's step-down method.

    A corrected value below alpha is a rejection; the chance of one or more false rejections is at
    most alpha, however the tests depend on each other. The smallest of n values counts n-fold, the
    next n - 1-fold and so on, and none less than one that is smaller.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979); as corrected values: S. P. Wright, Biometrics 48 (1992).

    Args:
        p_values: of the tests, 0 to 1.

    Returns:
        The corrected values in the same order, at most 1.
    """
    values = np.array(p_values)
    order = np.argsort(values)
    counted = values[order] * np.arange(len(values), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(counted), 1)
    corrected: list[float] = values.tolist()
    return corrected
