"""How measures, numbers, differences and tables are written, the same wherever they are shown."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

NOT_MEASURED = "not measured"
ABSENT = "–"  # in a table of differences
SMALLEST_P = 0.0001


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


@dataclass(frozen=True)
class Measure:
    """How a measure is shown: its name, what it is in a clause, whether as per cent."""

    title: str
    meaning: str = ""
    is_share: bool = True


@dataclass(frozen=True)
class Table:
    """A table with a caption, titles of columns, and rows whose first cell names the row.

    Attributes:
        code: numbers of the columns that hold code, as paths and hashes.
        words: numbers of the columns that hold words; the others, after the first, hold numbers.
        absent: what is said in place of a table without rows.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    code: tuple[int, ...] = ()
    words: tuple[int, ...] = ()
    absent: str = ""

    def is_text(self, column: int) -> bool:
        """Whether a column holds words or code, not numbers."""
        return column == 0 or column in (*self.code, *self.words)

    def cut(self, longest: int, hint: str = "") -> "Table":
        """The first rows, and how many more there are."""
        more = len(self.rows) - longest
        if more <= 0:
            return self
        last = [f"and {more} more{hint}", *[""] * (len(self.header) - 1)]
        return replace(self, rows=[*self.rows[:longest], last])


ACCURACY = Measure("accuracy", "share of the images that it gets right")


def _number(title: str, meaning: str) -> Measure:
    return Measure(title, meaning, is_share=False)


CALIBRATION_MEASURES = {
    "log_loss": _number("log loss", "mean of −ln of the true class's probability; 0 is best"),
    "brier": _number("Brier score", "squared error of the probabilities; 0 is best"),
    "ece": _number(
        "ECE", "expected calibration error, the mean gap of confidence and accuracy; 0 is best"
    ),
    "adaptive_ece": _number("adaptive ECE", "the same, with equally many images in each bin"),
    "calibration_slope": _number(
        "calibration slope", "1 is best; below 1 too sure, above 1 not sure enough"
    ),
    "coverage_at_99": Measure(
        "coverage at 99 %", "share of images that can be classified with an accuracy of 99 %"
    ),
    "share_sure": Measure(
        "share sure",
        "share of images of which the model is as sure as it had to be for an accuracy of 99 % on "
        "validation images",
    ),
    "accuracy_when_sure": Measure("accuracy when sure", "share of these that it gets right"),
}


def accuracy_measures(classes: Sequence[str]) -> dict[str, Measure]:
    """The measures of right and wrong predictions, by their names in the files."""
    if len(classes) == 2:
        precision = f"of the images that it calls {classes[1]}, the share that are"
        recall = f"of the images that are {classes[1]}, the share that it calls so"
        more_probable = f"{classes[1]} more probable where it is than where it is not"
    else:
        precision = "of the images that it gives a class, the share that are; mean of the classes"
        recall = "of the images of a class, the share that it calls so; mean of the classes"
        more_probable = "a class more probable where it is; mean of the classes"
    return {
        "accuracy": ACCURACY,
        "balanced_accuracy": Measure("balanced accuracy", "mean of the classes' accuracies"),
        "precision": Measure("precision", precision),
        "recall": Measure("recall", recall),
        "f1": Measure("F1", "harmonic mean of precision and recall"),
        "roc_auc": _number("ROC AUC", f"chance that it finds {more_probable}"),
    }


def percent(share: float, decimals: int = 1) -> str:
    """A share as per cent."""
    return f"{100 * share:.{decimals}f} %"


def shown(value: float | None, measure: Measure, ci: tuple[float, float] | None = None) -> str:
    """A measure's value, with its 95 % interval in parentheses if it has one."""
    if value is None:
        return NOT_MEASURED
    text = percent(value) if measure.is_share else f"{value:.3f}"
    if ci is None:
        return text
    low, high = (f"{100 * end:.1f}" if measure.is_share else f"{end:.3f}" for end in ci)
    return f"{text} ({low} – {high})"


def with_interval(measures: Mapping[str, float], name: str, measure: Measure) -> str:
    """A measure's value among others, with its interval if that is among them."""
    low, high = (measures.get(f"{name}_ci_{end}") for end in ("low", "high"))
    ci = None if low is None or high is None else (low, high)
    return shown(measures.get(name), measure, ci)


def signed(value: float, decimals: int = 4, *, plus: bool = True) -> str:
    """A difference with a true minus sign, and without any if it is zero as shown."""
    text = f"{value:+.{decimals}f}"
    if not float(text) or (not plus and text.startswith("+")):
        return text[1:]
    return text.replace("-", "−")


def points(difference: float) -> str:
    """A difference of two shares in percentage points."""
    return signed(100 * difference, 1, plus=False)


def p_value(p: float) -> str:
    """A p-value, as `p = 0.012`."""
    return f"p < {SMALLEST_P:.4f}" if p < SMALLEST_P else f"p = {p:.2g}"


def capital(text: str) -> str:
    """A text that begins a sentence."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str], conjunction: str) -> str:
    """Names in a row, as `automobile, ship or truck`."""
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def some(names: Collection[str], shown_names: int = 6) -> str:
    """The first names in the order of the alphabet, and how many more there are."""
    first = sorted(names)[:shown_names]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """A count with its noun, as `1 file` or `20 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def param(value: Any) -> str:
    """A value of `params.yaml`, as it is written there."""
    if isinstance(value, list):
        return f"[{', '.join(map(param, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)
