"""What was measured of the models, for the report, the results table and the README.

Nothing here differs between two machines or two commits that have the same files. What the pipeline
has not measured is empty or None, never guessed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from stages.data.errors import UserError
from stages.models.names import MODELS, ModelNames, best, noun_of
from stages.results.predictions import PREDICTIONS, Predictions, table_in
from stages.results.reading import EVALUATION, Results, read_results
from stages.statistics.paired import PairedDifference
from stages.workflow.params import Params, read_params
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import workspace

PREPARATION = "metrics/prepare.json"
SEEDS = "metrics/seeds.json"
LABEL_AUDIT = "metrics/audit_labels.json"
LABEL_ISSUES = "metrics/label_issues.csv"
ISSUE_COLUMNS = ("rank", "split", "index", "label", "suggested", "label_probability")
NEAR_DUPLICATES = "near_duplicates_of_train"  # the key in metrics/prepare.json
SPLITS = ("train", "validation", "test")
OVER_SEEDS = [
    f"{split}_accuracy.{key}" for split in SPLITS[1:] for key in ("mean", "std", "min", "max")
]


@dataclass(frozen=True)
class Model(ModelNames):
    """One of the models, as measured.

    Attributes:
        md5: of its file as DVC recorded it; None if it has not.
        params: that its training read, and the libraries, as DVC recorded them.
        measures: by split (train, validation, test) its measures by their names in the files.
        robustness: accuracy by the name of the change that was made to the test images.
        right: by class, on how many test images it is right; empty without predictions.
    """

    md5: str | None
    params: dict[str, Any]
    measures: dict[str, dict[str, float]]
    robustness: dict[str, float]
    right: dict[str, int]


class ModelPair(NamedTuple):
    """Nouns of two models, and how they differ on the same images; None if not measured."""

    first: str
    second: str
    test: PairedDifference | None


@dataclass(frozen=True)
class Measurements:
    """All that was measured.

    Attributes:
        results: the files that it was read from.
        params: the params, as they are now.
        classes: names of the classes.
        models: in the order of the pipeline.
        chosen: the best of them by `registry.select_by`.
        pairs: of models; empty if they were not compared.
        images: how many images each kind of test was made on.
        splits: by split, how many images in all, of each class, and nearly repeating a training
            image.
        seeds: by model `n`, and mean, std, min and max of the validation and test accuracy over
            trainings with so many seeds; empty if there were none.
        label_audit: `images`, `flagged`, `out_of_fold_accuracy`; empty if labels were not audited.
        label_issues: a row an image whose label is doubtful, the least credible first, in the
            order of `ISSUE_COLUMNS`; None if there is no list.
    """

    results: Results
    params: Params
    classes: list[str]
    models: list[Model]
    chosen: Model
    pairs: list[ModelPair]
    images: dict[str, int]
    splits: dict[str, dict[str, int]]
    seeds: dict[str, dict[str, float]]
    label_audit: dict[str, float]
    label_issues: list[list[Any]] | None

    @property
    def test_images(self) -> int:
        """How many images the test split has."""
        return self.splits["test"]["images"]


def read_measurements() -> Measurements:
    """Read all that was measured in the working directory.

    Raises:
        UserError: a file that every run of the pipeline writes is missing, or any is damaged.
    """
    params, results = read_params(), read_results(workspace())
    for path in (LOCK_FILE, PREDICTIONS):
        if path in results.gaps and results.revision.read(path) is not None:
            raise UserError(results.gaps[path])
    evaluation = results.numbers(EVALUATION)
    splits = _splits(results)
    classes = [key for key in splits["train"] if key not in ("images", NEAR_DUPLICATES)]
    models = {name: _model(name, results, classes) for name in MODELS}
    selected = {
        name: results.number(f"metrics/{model.stage}.json", params.registry.select_by)
        for name, model in models.items()
    }
    has_audit = results.revision.read(LABEL_AUDIT) is not None
    return Measurements(
        results=results,
        params=params,
        classes=classes,
        models=[*models.values()],
        chosen=models[best(selected, params.registry.select_by) or ""],
        pairs=_pairs(evaluation),
        images={key: int(value) for key, value in _below(evaluation, "images").items()},
        splits=splits,
        seeds=_seeds(results),
        label_audit=results.numbers(LABEL_AUDIT) if has_audit else {},
        label_issues=_label_issues(results),
    )


def _below(values: Mapping[str, float], group: str) -> dict[str, float]:
    """The numbers of a group without the groups inside it."""
    start = f"{group}."
    found = {key[len(start) :]: values[key] for key in values if key.startswith(start)}
    return {key: value for key, value in found.items() if "." not in key}


def _splits(results: Results) -> dict[str, dict[str, int]]:
    for split in SPLITS:
        results.number(PREPARATION, f"{split}.images")
    values = results.numbers(PREPARATION)
    found = [key.removesuffix(".images") for key in values if key.endswith(".images")]
    return {
        split: {key: int(value) for key, value in _below(values, split).items()} for split in found
    }


def _model(name: str, results: Results, classes: list[str]) -> Model:
    names = MODELS[name]
    training, tested = f"metrics/{names.stage}.json", results.numbers(EVALUATION)
    for path, key in (
        (training, "train.accuracy"),
        (training, "validation.accuracy"),
        (EVALUATION, f"{name}.accuracy"),
    ):
        results.number(path, key)
    entry = results.lock.get(names.stage)
    params = entry.params if entry else {}
    return Model(
        **asdict(names),
        md5=entry.outs.get(names.path) if entry else None,
        params={k: v for k, v in params.items() if k.startswith(f"{name}.") or ":" in k},
        measures={
            **{split: _below(results.numbers(training), split) for split in SPLITS[:2]},
            "test": _below(tested, name),
        },
        robustness=_below(tested, f"{name}.robustness"),
        right=_right(results.predictions, name, classes),
    )


def _right(predictions: Predictions | None, model: str, classes: list[str]) -> dict[str, int]:
    if predictions is None or model not in predictions.predicted:
        return {}
    right = predictions.actual[predictions.is_right(model)]
    return {name: int((right == name).sum()) for name in classes}


def _pairs(evaluation: Mapping[str, float]) -> list[ModelPair]:
    keys = [key.split(".") for key in evaluation if key.startswith("comparisons.")]
    found = []
    for pair in dict.fromkeys(key[1] for key in keys):
        first, _, second = pair.partition("_vs_")
        test = PairedDifference.from_metrics(_below(evaluation, f"comparisons.{pair}"))
        found.append(ModelPair(noun_of(first), noun_of(second), test))
    return found


def _seeds(results: Results) -> dict[str, dict[str, float]]:
    if results.revision.read(SEEDS) is None:
        return {}
    values = results.numbers(SEEDS)
    models = list(dict.fromkeys(key.split(".")[0] for key in values))
    for model in models:
        if model not in MODELS:
            known = ", ".join(MODELS)
            raise UserError(f"{SEEDS}: {model}: is no model; known: {known}; run `make seeds`")
    return {
        model: {key: results.number(SEEDS, f"{model}.{key}") for key in ("n", *OVER_SEEDS)}
        for model in models
    }


def _label_issues(results: Results) -> list[list[Any]] | None:
    content = results.revision.read(LABEL_ISSUES)
    if content is None:
        return None
    table = table_in(content, LABEL_ISSUES, ISSUE_COLUMNS, results.revision.remedy)
    return table[[*ISSUE_COLUMNS]].to_numpy(dtype=object).tolist()
