"""The tables of a comparison, the same on the terminal and in Markdown."""

from stages.results.changes import NO_VALUE, MetricChange
from stages.results.comparison import Comparison
from stages.results.reading import EVALUATION, SUMMARY
from stages.results.text import (
    ABSENT,
    CALIBRATION_MEASURES,
    Table,
    accuracy_measures,
    counted,
    p_value,
    param,
    percent,
    shown,
    signed,
    some,
)
from stages.results.verdicts import ACCURACY, BRIER, Measured, Verdict

MEASURES = accuracy_measures(("", "")) | CALIBRATION_MEASURES
IN_ANOTHER_TABLE = (ACCURACY, BRIER, "balanced_accuracy")
MAIN_OF_TRAINING = ("validation.accuracy", "validation.roc_auc", "train.accuracy")
SHOWN_CODE = 12  # files, unless everything is shown
SHOWN_FLIPS = 5  # of each model and direction
SHOWN_NAMES = 2  # of data and params of a stage


def detail_tables(comparison: Comparison, *, everything: bool) -> list[Table]:
    """What differs: settings, stages, code, predictions and, as the last, metrics."""
    code = _code_table(comparison)
    return [
        _params_table(comparison),
        _stages_table(comparison),
        code if everything else code.cut(SHOWN_CODE, " (--all)"),
        _flips_table(comparison),
        _metrics_table(comparison, everything=everything),
    ]


def verdicts_table(comparison: Comparison) -> Table:
    """A row a model and measure: both sides with intervals, difference, verdict."""
    header = ["model and measure", "base", "head", "difference", "verdict"]
    caption = (
        "Test images, with 95 % intervals; differences of accuracy in points, and how much is more "
        "than another seed would do; p corrected"
    )
    return Table(caption, header, [_verdict(each) for each in comparison.verdicts], words=(4,))


def _verdict(verdict: Verdict) -> list[str]:
    is_accuracy, test = verdict.measure == ACCURACY, verdict.test
    difference, said = ABSENT, str(verdict.kind)
    if test and test.ci and verdict.corrected_p is not None and verdict.kind != "same":
        scale, decimals = (100, 1) if is_accuracy else (1, 4)
        numbers = (test.difference, *test.ci)
        middle, low, high = (signed(scale * each, decimals) for each in numbers)
        difference = f"{middle}\n({low} to {high})"
        if (another := verdict.another_seed) and any(another.seeds):
            mean = f"mean {signed(scale * another.difference, decimals)}, "
            needed = f"{scale * another.needed:.{decimals}f} needed"
            difference += f"\n{mean * (another.std is None)}{needed}"
        said += f",\n{p_value(verdict.corrected_p)}"
    name = f"{verdict.model}\n{'accuracy' if is_accuracy else 'Brier score'}"
    sides = [_value(each, is_share=is_accuracy) for each in (verdict.base, verdict.head)]
    return [name, *sides, difference, said]


def _value(measured: Measured | None, *, is_share: bool) -> str:
    if measured is None:
        return ABSENT
    if is_share:
        return shown(measured.value, MEASURES[ACCURACY], measured.ci).replace(" (", "\n(")
    return f"{measured.value:.4f}"


def _flips_table(comparison: Comparison) -> Table:
    """The first images of each model whose prediction turned wrong, and right."""
    rows, counts = [], []
    models = dict.fromkeys(flip.model for flip in comparison.flips)
    for is_right, how in ((False, "to wrong"), (True, "to right")):
        for model in models:
            found = [f for f in comparison.flips if f.model == model and f.to_right == is_right]
            rows += [
                [model, how, str(flip.index), flip.actual, f"{flip.base} → {flip.head}"]
                for flip in found[:SHOWN_FLIPS]
            ]
    for model in models:
        right, wrong = comparison.turned(model)
        counts.append(f"{model} {wrong:,} wrong, {right:,} right")
    caption = f"Images whose prediction turned: {'; '.join(counts)}; the first of each"
    header = ["model", "turned", "image", "actual", "predictions"]
    return Table(caption, header, rows, words=(1, 3, 4))


def _params_table(comparison: Comparison) -> Table:
    rows = [
        [each.key, *(ABSENT if v is NO_VALUE else param(v) for v in (each.base, each.head))]
        for each in comparison.params
    ]
    caption = f"Settings that differ ({len(rows)})"
    return Table(caption, ["setting", "base", "head"], rows, code=(0, 1, 2))


def _stages_table(comparison: Comparison) -> Table:
    """Stages that read something else: how many files of code, which data, which params."""
    rows = []
    for each in comparison.stages:
        if each.change != "changed":
            rows.append([each.stage, *[str(each.change)] * 3, ABSENT])
            continue
        code = counted(len(each.code), "file") if each.code else ABSENT
        names = {path.rsplit("/", maxsplit=1)[-1] for path in each.data}
        data, params = (some(found, SHOWN_NAMES) or ABSENT for found in (names, each.settings))
        rows.append([each.stage, code, data, params, "same" if each.same_outputs else "differ"])
    header = ["stage", "code", "data", "settings", "outputs"]
    return Table(f"Stages that read something else ({len(rows)})", header, rows, words=(1, 2, 3, 4))


def _code_table(comparison: Comparison) -> Table:
    """Files of code that differ, and the stages that read them."""
    stages = max(len(comparison.base.lock), len(comparison.head.lock))
    rows = []
    for path in sorted({path for change in comparison.stages for path in change.code}):
        readers = [change.stage for change in comparison.stages if path in change.code]
        rows.append([path, "all" if len(readers) == stages > 1 else ", ".join(readers)])
    caption = f"Code that differs ({counted(len(rows), 'file')})"
    return Table(caption, ["file", "stages"], rows, code=(0,), words=(1,))


def _metrics_table(comparison: Comparison, *, everything: bool) -> Table:
    differing = [each for each in comparison.metrics if each.differs]
    rows = [_metric(each) for each in differing if everything or _is_main(each)]
    what = "Metrics that differ" if everything else "Main metrics that differ"
    return Table(f"{what} ({len(rows)})", ["metric", "base", "head", "difference"], rows)


def _is_main(metric: MetricChange) -> bool:
    """Whether a metric is shown unless all are: not what is in another table, nor a detail."""
    group, _, last = metric.name.rpartition(".")
    if metric.file == SUMMARY:
        return False
    if "robustness" in group or group.startswith("comparisons") or last.endswith(("_low", "_high")):
        return False
    if group in ("train", "validation") and last in MEASURES:
        return metric.name in MAIN_OF_TRAINING
    return metric.file != EVALUATION or last not in IN_ANOTHER_TABLE


def _metric(metric: MetricChange) -> list[str]:
    """Name, both values, and their difference."""
    last = metric.name.rpartition(".")[2].removesuffix("_ci_low").removesuffix("_ci_high")
    is_share = "accuracy" in last or ".robustness." in metric.name or metric.file == SUMMARY
    is_share |= last in MEASURES and MEASURES[last].is_share
    file = metric.file.rpartition("/")[2].removesuffix(".json")
    name = metric.name if metric.file == EVALUATION else f"{file}: {metric.name}"
    sides = [_number(value, is_share=is_share) for value in (metric.base, metric.head)]
    difference, gap = ABSENT, metric.difference
    if gap is not None:
        if isinstance(metric.head, int):
            difference = f"{gap:+,}".replace("-", "−")
        else:
            difference = f"{signed(100 * gap, 2)} points" if is_share else signed(gap)
    return [name, *sides, difference]


def _number(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, int):
        return f"{value:,}"
    return percent(value, 2) if is_share else f"{value:.4f}"
