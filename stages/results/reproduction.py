"""How far the metrics of the same code, data and params may lie apart from machine to machine.

Two kinds of CPU differ in the last digits of every product, and training carries that on: a network
that is trained elsewhere comes out about as different as one with another seed. What that is was
measured (`make seeds`, on two machines): over ten trainings the CNN is right on 91.7 to 93.2 % of
the test images, over six the MobileNet on 97.8 to 98.1 %. Three trainings of the CNN that are in
this project's history lie apart by at most 0.018 in recall, 0.006 in ROC AUC, 0.024 in log loss,
0.008 in the Brier score, 0.009 in ECE, 0.13 in calibration slope and 0.18 in coverage. The
tolerances leave room above that, and are a fraction of what a mistake costs: labels in a wrong
order, a model that learns nothing, images that are prepared in another way.

Metrics that were only checked out agree, too. So the stages that were computed on this machine are
counted, and if none of them wrote metrics, nothing is reproduced.
"""

import re
from typing import NamedTuple

from stages.results.changes import MetricChange
from stages.results.gate import ROUNDING, Check, Outcome, Rule, status_of
from stages.results.reading import EVALUATION, Results
from stages.results.text import ABSENT, Table, counted
from stages.statistics.paired import COUNTS
from stages.tracking.receipts import find_receipts


class Tolerance(NamedTuple):
    """How far a kind of metric may be off.

    Attributes:
        kind: what it is, in words.
        pattern: found in `FILE: NAME` of each metric of this kind.
        allowed: the largest difference.
        is_share: whether that is a share of the test images.
        is_of_counts: whether it holds for whole numbers alone.
    """

    kind: str
    pattern: str
    allowed: float
    is_share: bool = False
    is_of_counts: bool = False


# The first that holds is the one.
TOLERANCES = (
    # They hang on few images, and stray more than an accuracy does.
    Tolerance("p values", r"\bmcnemar_p$", 1.0),
    Tolerance("calibration slopes", r"\bcalibration_slope$", 0.5),
    Tolerance("coverage at 99 %", r"\bcoverage_at_99$", 0.25),
    Tolerance("doubtful labels", r"\bflagged$", 30),
    # It is computed in closed form, without chance; an image may lie on the boundary.
    Tolerance("measures of the baseline", r"train_baseline|: baseline\.|: baseline_", 0.002),
    # Each network adds its own images, in either direction.
    Tolerance(
        "images that two models classify alike or not",
        rf"\b({'|'.join(COUNTS)})$",
        0.04,
        is_share=True,
    ),
    Tolerance("differences of two models", r"difference[^.]*$", 0.03),
    Tolerance("log losses", r"\blog_loss$", 0.06),
    # Counts are of data, and the data are the same bytes.
    Tolerance("counts of images", "", 0, is_of_counts=True),
    # A tenth of the test images, so that chance is three times as large.
    Tolerance("accuracies on changed images", r"\.robustness\.", 0.05),
    Tolerance("accuracies and all other measures", "", 0.02),
)


def check_reproduction(base: Results, head: Results, metrics: list[MetricChange]) -> Check:
    """Hold all metrics of the head against those of the base, which was computed elsewhere."""
    computed = computed_here(head)
    remark = f"{len(computed)} of {counted(len(head.lock), 'stage')} were computed here"
    files = {metric.file for metric in metrics}
    is_ours = any(files & head.lock[stage].outs.keys() for stage in computed)
    if not is_ours:
        remark = "no metric was computed here; run `make repro`, then this again"
    images = base.metrics.get(EVALUATION, {}).get("images.test")
    if images is None:
        images = len(base.predictions) if base.predictions else 0
    allowed = {each: each.allowed * (images if each.is_share else 1) for each in TOLERANCES}
    kinds = {metric: tolerance_of(metric) for metric in metrics}
    rows = []
    for tolerance in TOLERANCES:
        found = [metric for metric in metrics if kinds[metric] == tolerance]
        if found:
            largest = max(found, key=_gap)
            gap, which = _gap(largest), largest.name if _gap(largest) else ABSENT
            most = f"{allowed[tolerance]:g}"
            rows.append([tolerance.kind, str(len(found)), most, f"{gap:.4g}", which])
    header = ["kind", "metrics", "allowed", "largest", "which"]
    table = Table("How far the metrics lie apart", header, rows, words=(4,))
    rules = [_rule(metric, allowed[kinds[metric]]) for metric in metrics]
    status = status_of(rules) if is_ours else "failed"
    return Check("reproduction", status, remark, rules, [], table)


def computed_here(head: Results) -> list[str]:
    """Stages of which this machine has a receipt for what the head's dvc.lock says they wrote."""
    made = [(receipt.stage, receipt.outs) for receipt in find_receipts()]
    return [stage for stage, entry in head.lock.items() if (stage, entry.outs) in made]


def tolerance_of(metric: MetricChange) -> Tolerance:
    """How far a metric may be off."""
    is_count = isinstance(metric.base if metric.head is None else metric.head, int)
    return next(
        each
        for each in TOLERANCES
        if (is_count or not each.is_of_counts)
        and re.search(each.pattern, f"{metric.file}: {metric.name}")
    )


def _gap(metric: MetricChange) -> float:
    return abs(metric.difference or 0.0)


def _rule(metric: MetricChange, allowed: float) -> Rule:
    name, gap = f"{metric.file}: {metric.name}", _gap(metric)
    if metric.difference is None:
        here = "the base" if metric.base is not None else "the head"
        return Rule(name, "broken", f"{metric.name} is in {metric.file} of {here} alone")
    outcome: Outcome = "kept" if gap <= allowed + ROUNDING else "broken"
    values = f"{metric.base:.6g} → {metric.head:.6g}"
    return Rule(name, outcome, f"{values}, {gap:.4g} apart; up to {allowed:.4g} is allowed")
