"""Intervals that need no more than arithmetic: importing scipy.stats takes a second."""

import math

NORMAL_975 = 1.959963984540054  # of the standard normal distribution, 97.5 % lie below it


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of an accuracy, in shares of 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927).

    Args:
        right: images predicted rightly.
        n: images in all, at least 1.
    """
    share, square = right / n, NORMAL_975**2 / n
    middle = share + square / 2
    reach = NORMAL_975 * math.sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = (middle - reach) / (1 + square), (middle + reach) / (1 + square)
    return (low if right else 0.0), (high if right < n else 1.0)
