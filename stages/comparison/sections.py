"""The tables of a comparison, the same on the terminal and in Markdown."""

from typing import Any

from stages.comparison.changes import Absent, MetricChange, stages_by_code
from stages.comparison.findings import Findings
from stages.comparison.judgements import ACCURACY, BRIER, Judgement, Measured
from stages.comparison.wording import ABSENT_CELL, plain, signed
from stages.reporting.recorded import some
from stages.reporting.sections import Table
from stages.reporting.tables import EVALUATION, percent
from stages.reporting.words import (
    CALIBRATION_MEASURES,
    accuracy_measures,
    counted,
    p_value,
    setting,
)

MEASURES = accuracy_measures(("", "")) | CALIBRATION_MEASURES
SHARES = {name for name, measure in MEASURES.items() if measure.is_share}
IN_ANOTHER_TABLE = (ACCURACY, BRIER, "balanced_accuracy")
MAIN_OF_TRAINING = ("validation.accuracy", "validation.log_loss", "train.accuracy")
SHOWN_FLIPS = 5  # of each model and direction
SHOWN_NAMES = 2  # of data and settings of a stage


def judgements_table(findings: Findings) -> Table:
    """A row a model and measure: both sides with intervals, difference, verdict."""
    rows = []
    for each in findings.judgements:
        test = each.paired
        difference, said = ABSENT_CELL, str(each.kind)
        if test is not None and each.corrected_p is not None and each.kind != "same":
            scale, decimals = (100, 1) if each.measure == ACCURACY else (1, 4)
            middle, low, high = (
                signed(scale * value, decimals)
                for value in (test.difference, test.ci_low, test.ci_high)
            )
            difference = f"{middle}\n({low} to {high})"
            said += f",\n{p_value(each.corrected_p)}"
        name = f"{each.model}\n{'accuracy' if each.measure == ACCURACY else 'Brier score'}"
        rows.append([name, _value(each, each.base), _value(each, each.head), difference, said])
    header = ["model and measure", "base", "head", "difference", "verdict"]
    caption = "Test images, with 95 % intervals; differences of accuracy in points; p corrected"
    return Table(caption, header, rows, words=(4,))


def flips_table(findings: Findings) -> Table:
    """The first images of each model whose answer turned wrong, and right."""
    rows = []
    for to_right, turned in ((False, "to wrong"), (True, "to right")):
        for model in dict.fromkeys(flip.model for flip in findings.flips):
            found = [f for f in findings.flips if f.model == model and f.to_right == to_right]
            rows += [
                [model, turned, str(flip.index), flip.actual, f"{flip.base} → {flip.head}"]
                for flip in found[:SHOWN_FLIPS]
            ]
    caption = f"Images whose answer turned: {flip_counts(findings)}; the first of each"
    return Table(caption, ["model", "turned", "image", "actual", "answers"], rows, words=(1, 3, 4))


def flip_counts(findings: Findings) -> str:
    """How many images turned right and wrong, by model."""
    counts = []
    for model in dict.fromkeys(flip.model for flip in findings.flips):
        turned = [flip.to_right for flip in findings.flips if flip.model == model]
        counts.append(f"{model} {len(turned) - sum(turned):,} wrong, {sum(turned):,} right")
    return "; ".join(counts)


def settings_table(findings: Findings) -> Table:
    """Settings that differ."""
    rows = [[each.key, _setting(each.base), _setting(each.head)] for each in findings.settings]
    return Table(
        f"Settings that differ ({len(rows)})", ["setting", "base", "head"], rows, code=(0, 1, 2)
    )


def stages_table(findings: Findings) -> Table:
    """Stages that read something else: how many files of code, which data, how many settings."""
    rows = []
    for each in findings.stages:
        if each.change != "changed":
            rows.append([each.stage, *[f"{each.change}"] * 3, ABSENT_CELL])
            continue
        code = counted(len(each.code), "file") if each.code else ABSENT_CELL
        names = {path.rsplit("/", maxsplit=1)[-1] for path in each.data}
        data = some(names, SHOWN_NAMES) or ABSENT_CELL
        settings = some(each.settings, SHOWN_NAMES) or ABSENT_CELL
        rows.append([each.stage, code, data, settings, "same" if each.same_outputs else "differ"])
    header = ["stage", "code", "data", "settings", "outputs"]
    return Table(f"Stages that read something else ({len(rows)})", header, rows, words=(1, 2, 3, 4))


def code_table(findings: Findings) -> Table:
    """Files of code that differ, and the stages that read them."""
    stages = max(len(findings.base.records), len(findings.head.records))
    rows = [
        [path, "all" if len(readers) == stages > 1 else ", ".join(readers)]
        for path, readers in stages_by_code(findings.stages).items()
    ]
    return Table(
        f"Code that differs ({counted(len(rows), 'file')})",
        ["file", "stages"],
        rows,
        code=(0,),
        words=(1,),
    )


def metrics_table(findings: Findings, *, everything: bool) -> Table:
    """Metrics that differ: the main ones, or all."""
    rows = [
        [_metric_name(each), _number(each, each.base), _number(each, each.head), _difference(each)]
        for each in findings.metrics
        if each.differs and (everything or is_main(each))
    ]
    what = "Metrics that differ" if everything else "Main metrics that differ"
    return Table(f"{what} ({len(rows)})", ["metric", "base", "head", "difference"], rows)


def is_main(metric: MetricChange) -> bool:
    """Whether a metric is shown unless all are: not what is in another table, nor a detail."""
    group, _, last = metric.name.rpartition(".")
    if "robustness" in group or group.startswith("comparisons") or last.endswith(("_low", "_high")):
        return False
    if group in ("train", "validation") and last in MEASURES:
        return metric.name in MAIN_OF_TRAINING
    return metric.file != str(EVALUATION) or last not in IN_ANOTHER_TABLE


def _metric_name(metric: MetricChange) -> str:
    stem = metric.file.rsplit("/", maxsplit=1)[-1].removesuffix(".json")
    return metric.name if metric.file == str(EVALUATION) else f"{stem}: {metric.name}"


def _number(metric: MetricChange, value: float | None) -> str:
    if value is None:
        return ABSENT_CELL
    if isinstance(value, int):
        return f"{value:,}"
    return percent(value, 2) if _is_share(metric) else f"{value:.4f}"


def _difference(metric: MetricChange) -> str:
    gap = metric.difference
    if gap is None:
        return ABSENT_CELL
    if isinstance(metric.head, int):
        return f"{gap:+,}".replace("-", "−")
    return f"{signed(100 * gap, 2)} points" if _is_share(metric) else signed(gap)


def _is_share(metric: MetricChange) -> bool:
    last = metric.name.rsplit(".", maxsplit=1)[-1]
    bare = last.removesuffix("_ci_low").removesuffix("_ci_high")
    return bare in SHARES or "accuracy" in last or ".robustness." in metric.name


def _value(judgement: Judgement, measured: Measured | None) -> str:
    if measured is None:
        return ABSENT_CELL
    if judgement.measure != ACCURACY:
        return plain(measured)
    if measured.ci is None:
        return percent(measured.value)
    low, high = measured.ci
    return f"{percent(measured.value)}\n({100 * low:.1f} – {100 * high:.1f})"


def _setting(value: Any) -> str:
    return ABSENT_CELL if isinstance(value, Absent) else setting(value)
