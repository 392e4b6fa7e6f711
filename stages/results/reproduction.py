"""How far the metrics of the same code, data and params may lie apart from machine to machine.

Two kinds of CPU differ in the last digits of every product, and training carries that on: a network
that is trained elsewhere comes out about as different as one with another seed. What that is was
measured (`make seeds`): over five seeds the CNN is right on 91.7 to 93.2 % of the test images, over
three the MobileNet on 97.9 to 98.0 %. Three trainings of the CNN that are in this project's history
lie apart by at most 0.018 in recall, 0.006 in ROC AUC, 0.024 in log loss, 0.008 in the Brier score,
0.009 in ECE, 0.13 in calibration slope and 0.18 in coverage. The tolerances leave room above that,
and are a fraction of what a mistake costs: labels in a wrong order, a model that learns nothing,
images that are prepared in another way.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stages.results.changes import MetricChange
from stages.results.gate import Check, Outcome, Rule, status_of
from stages.results.reading import EVALUATION, Results
from stages.results.text import Table
from stages.statistics.paired import COUNTS

ROUNDING = 1e-9


@dataclass(frozen=True)
class Tolerance:
    """How far a kind of metric may be off.

    Attributes:
        kind: what it is, in words.
        holds_for: tells by its file, its name and its last key whether a metric is of this kind.
        allowed: the largest difference; of counts of images, as a share of the test images.
        is_share_of_images: whether it is.
    """

    kind: str
    holds_for: Callable[[MetricChange, str], bool]
    allowed: float
    is_share_of_images: bool = False


def _last_is(*names: str) -> Callable[[MetricChange, str], bool]:
    return lambda _, last: last in names


def _is_count(metric: MetricChange, _: str) -> bool:
    return isinstance(metric.base if metric.head is None else metric.head, int)


def _is_of_baseline(metric: MetricChange, _: str) -> bool:
    return "train_baseline" in metric.file or metric.name.startswith("baseline.")


# The first that holds is the one.
TOLERANCES = (
    # They hang on few images, and stray more than an accuracy does.
    Tolerance("p values", _last_is("mcnemar_p"), 1.0),
    Tolerance("calibration slopes", _last_is("calibration_slope"), 0.5),
    Tolerance("coverage at 99 %", _last_is("coverage_at_99"), 0.25),
    Tolerance("doubtful labels", _last_is("flagged"), 30),
    # It is computed in closed form, without chance; an image may lie on the boundary.
    Tolerance("measures of the baseline", _is_of_baseline, 0.002),
    # Each network adds its own images, in either direction.
    Tolerance(
        "images that two models classify alike or not",
        _last_is(*COUNTS),
        0.04,
        is_share_of_images=True,
    ),
    Tolerance("differences of two models", lambda _, last: "difference" in last, 0.03),
    Tolerance("log losses", _last_is("log_loss"), 0.06),
    # Counts are of data, and the data are the same bytes.
    Tolerance("counts of images", _is_count, 0),
    # A tenth of the test images, so that chance is three times as large.
    Tolerance("accuracies on changed images", lambda each, _: ".robustness." in each.name, 0.05),
    Tolerance("accuracies and all other measures", lambda *_: True, 0.02),
)


def check_reproduction(base: Results, metrics: list[MetricChange]) -> Check:
    """Hold all metrics of the head against those of the base.

    Args:
        base: the side that was computed first, elsewhere.
        metrics: of both sides.
    """
    images = base.metrics.get(EVALUATION, {}).get("images.test")
    if images is None:
        images = len(base.predictions) if base.predictions else 0
    of_kind: dict[Tolerance, list[MetricChange]] = {each: [] for each in TOLERANCES}
    rules, rows = [], []
    for metric in metrics:
        tolerance = tolerance_of(metric)
        of_kind[tolerance].append(metric)
        rules.append(_rule(metric, _allowed(tolerance, images)))
    for tolerance, found in of_kind.items():
        if found:
            largest = max(found, key=_gap)
            which = largest.name if _gap(largest) else "–"
            allowed = f"{_allowed(tolerance, images):g}"
            rows.append([tolerance.kind, str(len(found)), allowed, f"{_gap(largest):.4g}", which])
    header = ["kind", "metrics", "allowed", "largest", "which"]
    table = Table("How far the metrics lie apart", header, rows, words=(4,))
    return Check("reproduction", status_of(rules), "", rules, [], table)


def tolerance_of(metric: MetricChange) -> Tolerance:
    """How far a metric may be off."""
    last = metric.name.rsplit(".", maxsplit=1)[-1]
    return next(each for each in TOLERANCES if each.holds_for(metric, last))


def _allowed(tolerance: Tolerance, images: float) -> float:
    return tolerance.allowed * (images if tolerance.is_share_of_images else 1)


def _gap(metric: MetricChange) -> float:
    return abs(metric.difference or 0.0)


def _rule(metric: MetricChange, allowed: float) -> Rule:
    name = f"{metric.file}: {metric.name}"
    if metric.difference is None:
        here = "the base" if metric.base is not None else "the head"
        return Rule(name, "broken", f"{metric.name} is in {metric.file} of {here} alone")
    gap = _gap(metric)
    outcome: Outcome = "kept" if gap <= allowed + ROUNDING else "broken"
    values = f"{metric.base:.6g} → {metric.head:.6g}"
    return Rule(name, outcome, f"{values}, {gap:.4g} apart; up to {allowed:.4g} is allowed")
