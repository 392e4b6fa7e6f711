"""How numbers and comparisons are put into words, the same on the page and in the model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stages.reporting.results import Comparison
from stages.reporting.tables import percent

NOT_MEASURED = "not measured"
SMALLEST_P = 0.0001
Kind = Literal["better", "worse", "no evidence", "not measured"]


@dataclass(frozen=True)
class Measure:
    """How a measure is shown.

    Attributes:
        title: its name.
        meaning: what it is, in a clause.
        is_share: whether it is shown as per cent.
    """

    title: str
    meaning: str
    is_share: bool = True


@dataclass(frozen=True)
class Verdict:
    """What a comparison says.

    Attributes:
        kind: in a word or two.
        sentence: with the numbers.
    """

    kind: Kind
    sentence: str


def accuracy_measures(classes: Sequence[str]) -> dict[str, Measure]:
    """The measures of right and wrong answers, by their names in the files."""
    if len(classes) == 2:
        precision = f"of the images that it calls {classes[1]}, the share that are"
        recall = f"of the images that are {classes[1]}, the share that it calls so"
        roc_auc = (
            f"chance that it finds {classes[1]} more probable where it is than where it is not"
        )
    else:
        precision = "of the images that it gives a class, the share that are; mean of the classes"
        recall = "of the images of a class, the share that it calls so; mean of the classes"
        roc_auc = "chance that it finds a class more probable where it is; mean of the classes"
    return {
        "accuracy": Measure("accuracy", "share of the images that it answers rightly"),
        "balanced_accuracy": Measure("balanced accuracy", "mean of the classes' accuracies"),
        "precision": Measure("precision", precision),
        "recall": Measure("recall", recall),
        "f1": Measure("F1", "harmonic mean of precision and recall"),
        "roc_auc": Measure("ROC AUC", roc_auc, is_share=False),
    }


CALIBRATION_MEASURES = {
    "log_loss": Measure(
        "log loss", "mean of −ln of the true class's probability; 0 is best", is_share=False
    ),
    "brier": Measure(
        "Brier score", "squared error of the probabilities; 0 is best", is_share=False
    ),
    "ece": Measure(
        "ECE",
        "expected calibration error, the mean gap of confidence and accuracy; 0 is best",
        is_share=False,
    ),
    "adaptive_ece": Measure(
        "adaptive ECE", "the same, with equally many images in each bin", is_share=False
    ),
    "calibration_slope": Measure(
        "calibration slope", "1 is best; below 1 too sure, above 1 not sure enough", is_share=False
    ),
    "coverage_at_99": Measure(
        "coverage at 99 %", "share of images that can be answered with an accuracy of 99 %"
    ),
}


def shown(value: float | None, measure: Measure) -> str:
    """A measure's value."""
    if value is None:
        return NOT_MEASURED
    return percent(value) if measure.is_share else f"{value:.3f}"


def with_interval(measures: Mapping[str, float], name: str, measure: Measure) -> str:
    """A measure's value, and its 95 % interval in parentheses if the files have one."""
    value = shown(measures.get(name), measure)
    low, high = measures.get(f"{name}_ci_low"), measures.get(f"{name}_ci_high")
    if name not in measures or low is None or high is None:
        return value
    if measure.is_share:
        return f"{value} ({100 * low:.1f} – {100 * high:.1f})"
    return f"{value} ({low:.3f} – {high:.3f})"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with a true minus sign."""
    return f"{100 * difference:.1f}".replace("-", "−").replace("−0.0", "0.0")


def p_value(p: float) -> str:
    """A p-value, as `p = 0.012`."""
    return f"p < {SMALLEST_P:.4f}" if p < SMALLEST_P else f"p = {p:.2g}"


def verdict(
    comparison: Comparison,
    images: int,
    alpha: float,
    *,
    corrected_p: float | None = None,
    tests: int = 1,
) -> Verdict:
    """Put a comparison into words.

    Args:
        comparison: of two models on the same images.
        images: how many.
        alpha: level of the exact McNemar test below which a difference is believed.
        corrected_p: the p value to believe, where this is one of several tests.
        tests: how many.
    """
    first, second = comparison.first, comparison.second
    measured = comparison.measures
    difference, p = measured.get("accuracy_difference"), measured.get("mcnemar_p")
    if difference is None or p is None:
        return Verdict(
            "not measured",
            f"{capital(first)} against {second}: {NOT_MEASURED} on the same images.",
        )
    low = measured.get("accuracy_difference_ci_low")
    high = measured.get("accuracy_difference_ci_high")
    believed = p if corrected_p is None else corrected_p
    evidence = f"on the same {images:,} test images; exact McNemar {p_value(p)}"
    if tests > 1:
        evidence += f", corrected for {tests} models {p_value(believed)}"
    if believed >= alpha or difference == 0:
        size = f"{points(difference)} points{_range(low, high)}"
        return Verdict(
            "no evidence",
            f"There is no evidence of a difference between {first} and {second}: "
            f"{size} {evidence}.",
        )
    if difference > 0:
        size = f"{points(difference)} points{_range(low, high)}"
        return Verdict("better", f"{capital(first)} is better than {second}: {size} {evidence}.")
    turned = (None if bound is None else -bound for bound in (high, low))
    size = f"{points(-difference)} points fewer{_range(*turned)}"
    return Verdict("worse", f"{capital(first)} is worse than {second}: {size} {evidence}.")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f" (interval {NOT_MEASURED})"
    return f" ({points(low)} to {points(high)})"


def capital(text: str) -> str:
    """A text that begins a sentence."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str], conjunction: str) -> str:
    """Names in a row, as `automobile, ship or truck`."""
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def counted(count: int, noun: str) -> str:
    """A count with its noun, as `1 file` or `20 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def question(classes: Sequence[str]) -> str:
    """What the models are asked, as a title."""
    return f"{capital(listed(classes, 'or'))}?"


def setting(value: Any) -> str:
    """A value of `params.yaml`, as it is written there."""
    if isinstance(value, list):
        return f"[{', '.join(map(setting, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)
