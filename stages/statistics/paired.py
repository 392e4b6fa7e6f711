"""Comparing two classifiers on the same images."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedTest:
    """The images on which two classifiers differ.

    Attributes:
        only_first: images that the first alone answers rightly.
        only_second: images that the second alone answers rightly.
        p_value: of the hypothesis that both are right equally often.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_is_right: np.ndarray, second_is_right: np.ndarray) -> PairedTest:
    """Exact McNemar test, two-sided: if both are as good, each difference is a fair coin's toss.

    Source: Q. McNemar, Psychometrika 12 (1947); the exact form by the binomial distribution.

    Args:
        first_is_right: bool [n], whether the first classifier answers each image rightly.
        second_is_right: bool [n], the second one on the same images in the same order.

    Raises:
        ValueError: they are not as many.
    """
    from scipy.stats import binomtest  # takes a second to import

    if first_is_right.shape != second_is_right.shape:
        raise ValueError(f"{first_is_right.shape} and {second_is_right.shape} answers: not paired")
    only_first = int(np.sum(first_is_right & ~second_is_right))
    only_second = int(np.sum(second_is_right & ~first_is_right))
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    return PairedTest(only_first, only_second, p_value)
