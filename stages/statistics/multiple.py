"""Several tests at once: the chance that any of them cries wolf is kept at the level of one."""

from collections.abc import Sequence


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
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[position])
        corrected[position] = min(1.0, largest)
    return corrected
