"""Whether classes are equally frequent, and which measure says how good a model is then."""

from collections.abc import Collection

BALANCED_UP_TO = 1.5  # times as many images of one class as of another


def headline_measure(counts: Collection[int]) -> str:
    """`accuracy`, or `balanced_accuracy` where a frequent class would decide it alone.

    Args:
        counts: images of each class.
    """
    is_balanced = max(counts) <= BALANCED_UP_TO * min(counts)
    return "accuracy" if is_balanced else "balanced_accuracy"
