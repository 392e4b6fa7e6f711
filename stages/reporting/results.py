"""What was measured, gathered from the files that the pipeline wrote, into one typed structure.

Nothing here differs between two machines or two commits that have the same files. What the pipeline
has not measured is empty or None, never guessed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.data.errors import UserError
from stages.models.titles import TITLES
from stages.reporting.reading import (
    REMEDY,
    group_at,
    leaves,
    number_at,
    optional_group,
    read_numbers,
    read_table,
)
from stages.reporting.tables import EVALUATION, NOUNS, PREPARATION, SEEDS, TRAINING_STAGES
from stages.tracking.declared import LOCK_FILE, StageRecord, workspace_records
from stages.workflow.params import Params, read_params

LABEL_AUDIT = Path("metrics/audit_labels.json")
LABEL_ISSUES = Path("metrics/label_issues.csv")
ISSUE_COLUMNS = ("rank", "split", "index", "label", "suggested", "label_probability")
PREDICTIONS = Path("metrics/predictions.csv")
LOWER_IS_BETTER = ("log_loss",)
NEAR_DUPLICATES = "near_duplicates_of_train"  # the key in metrics/prepare.json


@dataclass(frozen=True)
class Model:
    """One of the models, as measured.

    Attributes:
        name: as in the files.
        title: as in tables.
        noun: as within a sentence.
        path: of its file.
        stage: that trains it.
        md5: of its file as DVC recorded it; None if it has not.
        settings: the params that its training read, as DVC recorded them.
        measures: by split (train, validation, test) its measures by their names in the files.
        robustness: accuracy by the name of the change that was made to the test images.
        right: by class, how many test images it answers rightly; empty without predictions.
    """

    name: str
    title: str
    noun: str
    path: str
    stage: str
    md5: str | None
    settings: dict[str, Any]
    measures: dict[str, dict[str, float]]
    robustness: dict[str, float]
    right: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same test images.

    Attributes:
        first: noun of the first model.
        second: noun of the second one.
        measures: `accuracy_difference` (first less second), its interval, `mcnemar_p`, and how many
            images both, one or none of them answers rightly.
    """

    first: str
    second: str
    measures: dict[str, float]


@dataclass(frozen=True)
class Results:
    """All that was measured.

    Attributes:
        params: the settings, as they are now.
        classes: names of the classes.
        models: in the order of the pipeline.
        chosen: the best of them by `registry.select_by`.
        comparisons: of pairs; empty if they were not compared.
        images: how many images each kind of test was made on.
        splits: by split, how many images in all, of each class, and nearly repeating a training
            image.
        has_seeds: whether trainings with several seeds were measured.
        label_audit: `images`, `flagged`, `out_of_fold_accuracy`; empty if labels were not
            audited.
        label_issues: a row an image whose label is doubtful, the least credible first,
            by the names in `ISSUE_COLUMNS` and others; None if there is no list.
        records: what DVC recorded of each stage.
    """

    params: Params
    classes: list[str]
    models: list[Model]
    chosen: Model
    comparisons: list[Comparison]
    images: dict[str, int]
    splits: dict[str, dict[str, int]]
    has_seeds: bool
    label_audit: dict[str, float]
    label_issues: list[dict[str, str]] | None
    records: dict[str, StageRecord]

    @property
    def test_images(self) -> int:
        """How many images the test split has."""
        return self.splits["test"]["images"]


def gather_results() -> Results:
    """Read all metrics files in the working directory.

    Raises:
        UserError: one that every run of the pipeline writes is missing, or any is damaged.
    """
    params, records = read_params(), _records()
    evaluation = read_numbers(EVALUATION)
    splits = _splits()
    classes = [
        key for key in splits["train"] if key != "images" and not key.startswith("near_duplicates")
    ]
    models = [_model(name, evaluation, records, classes) for name in TRAINING_STAGES]
    images = leaves(optional_group(EVALUATION, evaluation, "images"))
    return Results(
        params=params,
        classes=classes,
        models=models,
        chosen=_best(models, params.registry.select_by),
        comparisons=_comparisons(evaluation),
        images={key: int(value) for key, value in images.items()},
        splits=splits,
        has_seeds=_has_seeds(),
        label_audit=leaves(read_numbers(LABEL_AUDIT)) if LABEL_AUDIT.exists() else {},
        label_issues=read_table(LABEL_ISSUES, ISSUE_COLUMNS),
        records=records,
    )


def _records() -> dict[str, StageRecord]:
    try:
        return workspace_records()
    except (OSError, ValueError) as error:  # no text
        raise UserError(f"{LOCK_FILE}: cannot be read ({error}); restore it from Git") from error


def _splits() -> dict[str, dict[str, int]]:
    values = read_numbers(PREPARATION)
    for split in ("train", "validation", "test"):
        number_at(PREPARATION, values, split, "images")
    return {
        split: {key: int(value) for key, value in leaves(group).items()}
        for split, group in values.items()
        if isinstance(group, dict) and "images" in group
    }


def _model(
    name: str, evaluation: dict[str, Any], records: dict[str, StageRecord], classes: list[str]
) -> Model:
    stage, path = TRAINING_STAGES[name], f"data/models/{name}.npz"
    training_file = Path("metrics") / f"{stage}.json"
    training = read_numbers(training_file)
    for split in ("train", "validation"):
        number_at(training_file, training, split, "accuracy")
    number_at(EVALUATION, evaluation, name, "accuracy")
    tested = group_at(EVALUATION, evaluation, name)
    splits = {split: group_at(training_file, training, split) for split in ("train", "validation")}
    record = records.get(stage)
    settings = {
        key: value
        for key, value in (record.params if record else {}).items()
        if key.split(".")[0] == name
    }
    return Model(
        name=name,
        title=TITLES[name],
        noun=NOUNS[name],
        path=path,
        stage=stage,
        md5=record.outs.get(path) if record else None,
        settings=settings,
        measures={split: leaves(group) for split, group in (splits | {"test": tested}).items()},
        robustness=leaves(optional_group(EVALUATION, tested, "robustness")),
        right=_right(name, classes),
    )


def _right(model: str, classes: list[str]) -> dict[str, int]:
    predictions = read_table(PREDICTIONS, ("actual", model))
    if predictions is None:
        return {}
    return {
        name: sum(row["actual"] == name == row[model] for row in predictions) for name in classes
    }


def _best(models: list[Model], select_by: str) -> Model:
    split, measure = select_by.split(".")
    sign = -1 if measure in LOWER_IS_BETTER else 1

    def value(model: Model) -> float:
        path = Path("metrics") / f"{model.stage}.json"
        return sign * number_at(path, model.measures, split, measure)

    return max(models, key=value)


def _comparisons(evaluation: dict[str, Any]) -> list[Comparison]:
    found = []
    pairs = optional_group(EVALUATION, evaluation, "comparisons")
    for pair in pairs:
        first, _, second = pair.partition("_vs_")
        nouns = (NOUNS.get(first, first), NOUNS.get(second, second))
        found.append(Comparison(*nouns, leaves(group_at(EVALUATION, pairs, pair))))
    return found


def _has_seeds() -> bool:
    if not SEEDS.exists():
        return False
    values = read_numbers(SEEDS)
    for model in values:
        if model not in TITLES:
            raise UserError(f"{SEEDS}: {model}: is no model; known: {', '.join(TITLES)}; {REMEDY}")
        number_at(SEEDS, values, model, "n")
        for split in ("validation_accuracy", "test_accuracy"):
            for key in ("mean", "std", "min", "max"):
                number_at(SEEDS, values, model, split, key)
    return True
