"""The tables of the report, made from the results; a cell that nothing was measured for says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.reporting.results import ISSUE_COLUMNS, NEAR_DUPLICATES, Model, Results
from stages.reporting.tables import Rows, percent, seeds_rows
from stages.reporting.words import (
    CALIBRATION_MEASURES,
    NOT_MEASURED,
    Measure,
    accuracy_measures,
    points,
    setting,
    shown,
    with_interval,
)

ACCURACY = Measure("accuracy", "")
SHOWN_ISSUES = 20
UNCHANGED = "unchanged"  # the test images as they are, in the measures of robustness
COUNTS = {
    "both_right": "both right",
    "only_first_right": "only the first",
    "only_second_right": "only the second",
    "both_wrong": "both wrong",
}


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        header: titles of the columns.
        rows: cells; the first of each row names the row.
        code: numbers of the columns that hold code, as paths and hashes.
        words: numbers of the columns that hold words; the others, after the first, hold numbers.
    """

    caption: str
    header: list[str]
    rows: Rows
    code: tuple[int, ...] = ()
    words: tuple[int, ...] = ()


def accuracy_table(results: Results) -> Table:
    """Accuracy of each model on each split, with intervals where there are any."""
    header = ["model", "train", "validation", "test"]
    rows = [
        [_title(model, results)]
        + [with_interval(model.measures[split], "accuracy", ACCURACY) for split in header[1:]]
        for model in results.models
    ]
    return Table(f"Accuracy{_interval_note(results)}", header, rows)


def _title(model: Model, results: Results) -> str:
    return f"{model.title} (chosen)" if model is results.chosen else model.title


def _interval_note(results: Results) -> str:
    known = [
        "accuracy_ci_low" in measures
        for model in results.models
        for measures in model.measures.values()
    ]
    if all(known):
        return ", with 95 % intervals"
    return ", with 95 % intervals where they were measured" if any(known) else ""


def test_table(results: Results, models: Sequence[Model]) -> Table:
    """The other measures of right and wrong on the test images, a row a measure."""
    known = accuracy_measures(results.classes)
    del known["accuracy"]
    unknown = {name: Measure(name, "", is_share=False) for name in _unknown_measures(results)}
    return _measures_table(models, known | unknown, "More measures on the test images")


def calibration_table(models: Sequence[Model]) -> Table:
    """Measures of the probabilities on the test images, a row a measure."""
    return _measures_table(models, CALIBRATION_MEASURES, "Calibration on the test images")


def _measures_table(
    models: Sequence[Model], measures: Mapping[str, Measure], caption: str
) -> Table:
    rows = [
        [
            measure.title,
            *(with_interval(model.measures["test"], name, measure) for model in models),
            measure.meaning,
        ]
        for name, measure in measures.items()
    ]
    header = ["measure", *(model.title for model in models), "meaning"]
    return Table(caption, header, rows, words=(len(header) - 1,))


def _unknown_measures(results: Results) -> list[str]:
    """Measures of the test that this version of the report has no words for."""
    known = {
        *accuracy_measures(results.classes),
        *CALIBRATION_MEASURES,
        "accuracy_without_near_duplicates",
    }
    names = dict.fromkeys(name for model in results.models for name in model.measures["test"])
    return [name for name in names if name not in known and not name.endswith(("_low", "_high"))]


def classes_table(results: Results, models: Sequence[Model]) -> Table | None:
    """How many images of each class each model answers rightly; None without predictions."""
    if not all(model.right for model in models):
        return None
    rows = [
        [name, f"{results.splits['test'].get(name, 0):,}"]
        + [_of(model.right[name], results.splits["test"].get(name, 0)) for model in models]
        for name in results.classes
    ]
    header = ["class", "test images", *(model.title for model in models)]
    return Table("Test images answered rightly, by class", header, rows)


def _of(count: int, total: int) -> str:
    return f"{count:,} ({percent(count / total)})" if total else f"{count:,}"


def comparisons_table(results: Results) -> Table:
    """On how many test images two models agree and differ."""
    rows = [
        [f"{comparison.first}, {comparison.second}"]
        + [
            f"{comparison.measures[key]:,.0f}" if key in comparison.measures else NOT_MEASURED
            for key in COUNTS
        ]
        for comparison in results.comparisons
    ]
    header = ["first, second", *COUNTS.values()]
    return Table("Test images that both, one or none of two models answers rightly", header, rows)


def robustness_table(models: Sequence[Model]) -> Table | None:
    """Accuracy on changed test images; None if it was not measured."""
    changes = dict.fromkeys(change for model in models for change in model.robustness)
    if not changes:
        return None
    rows = [
        [change.replace("_", " "), *(_robustness(model, change) for model in models)]
        for change in changes
    ]
    header = ["test images", *(model.title for model in models)]
    caption = "Accuracy on changed images, and the difference to the unchanged ones in points"
    return Table(caption, header, rows)


def _robustness(model: Model, change: str) -> str:
    accuracy, base = model.robustness.get(change), model.robustness.get(UNCHANGED)
    if accuracy is None:
        return NOT_MEASURED
    if base is None or change == UNCHANGED:
        return percent(accuracy)
    sign = "+" if accuracy > base else ""
    return f"{percent(accuracy)} ({sign}{points(accuracy - base)})"


def near_duplicates_table(models: Sequence[Model]) -> Table:
    """Accuracy on the test images with and without those that nearly repeat a training image."""
    rows = [
        [model.title]
        + [
            shown(model.measures["test"].get(name), ACCURACY)
            for name in ("accuracy", "accuracy_without_near_duplicates")
        ]
        for model in models
    ]
    header = ["model", "all test images", "without near-duplicates"]
    return Table("Test accuracy without near-duplicates", header, rows)


def seeds_table(results: Results) -> Table | None:
    """Accuracy over trainings with several seeds; None if they were not made."""
    if not results.has_seeds:
        return None
    header, *rows = seeds_rows()
    return Table("Mean ± standard deviation of the accuracy over seeds", header, rows)


def issues_table(results: Results) -> Table | None:
    """The labels that are least credible; None if there is no list or nothing on it."""
    if not results.label_issues:
        return None
    shown_issues = results.label_issues[:SHOWN_ISSUES]
    *names, last = ISSUE_COLUMNS
    rows = [[*(issue[name] for name in names), _probability(issue[last])] for issue in shown_issues]
    total = len(results.label_issues)
    part = f"The first {len(rows)} of {total:,}" if total > len(rows) else f"All {total:,}"
    header = [name.replace("_", " ") for name in ISSUE_COLUMNS]
    return Table(f"{part} doubtful labels", header, rows, words=(1, 3, 4))


def _probability(text: str) -> str:
    try:
        return f"{float(text):.3f}"
    except ValueError:
        return text


def splits_table(results: Results) -> Table:
    """How many images each split has, by class."""
    rows = [
        [
            split,
            f"{counts['images']:,}",
            *(f"{counts.get(name, 0):,}" for name in results.classes),
            f"{counts[NEAR_DUPLICATES]:,}" if NEAR_DUPLICATES in counts else "–",
        ]
        for split, counts in results.splits.items()
    ]
    header = ["split", "images", *results.classes, "near-duplicates of a training image"]
    return Table("Images of each split", header, rows)


def training_table(model: Model) -> Table | None:
    """The settings with which a model was trained; None if DVC recorded none."""
    if not model.settings:
        return None
    rows = [[key, setting(value)] for key, value in model.settings.items()]
    return Table(f"Settings of {model.title}", ["setting", "value"], rows, code=(0, 1))


def floors_table(results: Results) -> Table:
    """What the chosen model must reach on the test images to be the champion, and what it does."""
    measures = accuracy_measures(results.classes) | CALIBRATION_MEASURES
    floors = results.params.registry.floors
    tested = results.chosen.measures["test"]
    rows = []
    for name, floor in floors.model_dump().items():
        value, measure = tested.get(name), measures[name]
        reached = NOT_MEASURED if value is None else "yes" if value >= floor else "no"
        rows.append([measure.title, shown(floor, measure), shown(value, measure), reached])
    header = ["measure", "at least", "measured", "reached"]
    return Table("Floors of the registry", header, rows, words=(3,))
