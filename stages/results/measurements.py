"""What was measured of the models, for the report, the results table and the README.

Nothing here differs between two machines or two commits that have the same files. What the pipeline
has not measured is empty or None, never guessed.
"""

import functools
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from stages.data.cifar10 import SIDE
from stages.data.errors import UserError
from stages.data.splits import SPLIT_NAMES
from stages.models.names import MODELS, ModelNames, noun_of
from stages.results.predictions import PREDICTIONS, table_in
from stages.results.reading import EVALUATION, read_results
from stages.results.verdicts import Kind, kind_of, sentence_on
from stages.statistics.balance import headline_measure
from stages.statistics.paired import PairedDifference
from stages.workflow.params import read_params
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import workspace

PREPARATION = "metrics/prepare.json"
LABEL_AUDIT = "metrics/audit_labels.json"
LABEL_ISSUES = "metrics/label_issues.csv"
ISSUE_COLUMNS = ("rank", "split", "index", "label", "suggested", "label_probability")
NEAR_DUPLICATES = "near_duplicates_of_train"  # the key in metrics/prepare.json
# Expected maximum of ten standard normal numbers (David and Nagaraja, Order Statistics, 2003).
BEST_OF_TEN = 1.54


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
    """Two models on the same images: their nouns, how they differ, and a sentence on it."""

    first: str
    second: str
    test: PairedDifference | None
    kind: Kind
    sentence: str


def _groups(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The groups of a file, or of a group, without the numbers beside them."""
    return {name: value for name, value in values.items() if isinstance(value, dict)}


class Measurements:
    """All that was measured in the working directory, each part read when it is asked for.

    Raises:
        UserError: params.yaml, dvc.lock or the predictions are damaged. Parts raise it, too: a file
            that every run of the pipeline writes is missing, or any is damaged.
    """

    def __init__(self) -> None:
        self.params = read_params()
        self.results = read_results(workspace())
        self._numbers = functools.cache(self.results.revision.numbers)
        for path in (LOCK_FILE, PREDICTIONS):
            if path in self.results.gaps and self._has(path):
                raise UserError(self.results.gaps[path])

    def _has(self, path: str) -> bool:
        return self.results.revision.read(path) is not None

    @cached_property
    def splits(self) -> dict[str, dict[str, int]]:
        """By split, how many images in all, of each class, and nearly repeating a training one."""
        for split in SPLIT_NAMES:
            self.results.number(PREPARATION, f"{split}.images")
        groups = _groups(self._numbers(PREPARATION)).items()
        return {name: group for name, group in groups if "images" in group}

    @property
    def test_images(self) -> int:
        """How many images the test split has."""
        return self.splits["test"]["images"]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [key for key in self.splits["train"] if key not in ("images", NEAR_DUPLICATES)]

    @property
    def is_cifar10(self) -> bool:
        """Whether the images are CIFAR-10's, not photos of one's own."""
        return self.params.data.source == "cifar10"

    @property
    def photo_size(self) -> int:
        """Side in pixels of the images that the models take."""
        return int(_groups(self._numbers(PREPARATION)).get("folder", {}).get("photo_size", SIDE))

    @property
    def headline(self) -> str:
        """Name of the measure that says how good a model is."""
        return headline_measure([self.splits["test"][name] for name in self.classes])

    @cached_property
    def models(self) -> list[Model]:
        """In the order of the pipeline."""
        return [self._model(names) for names in MODELS.values()]

    def _model(self, names: ModelNames) -> Model:
        results, training = self.results, f"metrics/{names.stage}.json"
        results.number(EVALUATION, f"{names.name}.accuracy")
        tested = self._numbers(EVALUATION)[names.name]
        inside = _groups(tested)
        measures = {"test": {key: tested[key] for key in tested if key not in inside}}
        for split in SPLIT_NAMES[:2]:
            results.number(training, f"{split}.accuracy")
            measures[split] = self._numbers(training)[split]
        entry = results.lock.get(names.stage)
        params = entry.params if entry else {}
        return Model(
            **asdict(names),
            md5=entry.outs.get(names.path) if entry else None,
            params={k: v for k, v in params.items() if k.startswith(f"{names.name}.") or ":" in k},
            measures=measures,
            robustness=inside.get("robustness", {}),
            right=self._right(names.name),
        )

    def _right(self, model: str) -> dict[str, int]:
        predictions = self.results.predictions
        if predictions is None or model not in predictions.predicted:
            return {}
        right = predictions.actual[predictions.is_right(model)]
        return {name: int((right == name).sum()) for name in self.classes}

    @cached_property
    def chosen(self) -> Model:
        """The best model by `registry.select_by`."""
        models = {model.name: model for model in self.models}
        return models[self.results.best_by(self.params.registry.select_by)]

    @property
    def standard_error(self) -> float:
        """Of the accuracy of the chosen model on the test images, a share."""
        accuracy = self.chosen.measures["test"]["accuracy"]
        return math.sqrt(accuracy * (1 - accuracy) / self.test_images)

    @property
    def best_of_ten(self) -> float:
        """By how much, a share, the best of ten equal models looks too good on the test images.

        At most: it is less where they are wrong on the same images (docs/evaluation.md).
        """
        return BEST_OF_TEN * self.standard_error

    @property
    def is_easy_split(self) -> bool:
        """Whether the validation images are those on which the CNN was found to look too good."""
        data = self.params.data
        cut = (data.seed, data.validation_fraction, data.limit_per_class)
        is_ours = self.is_cifar10 and [*data.classes] == ["automobile", "truck"]
        return is_ours and cut == (0, 0.1, None)

    @cached_property
    def pairs(self) -> list[ModelPair]:
        """Each model with each that is simpler; empty if they were not compared."""
        found = []
        compared = _groups(self._numbers(EVALUATION)).get("comparisons", {})
        for name, counts in _groups(compared).items():
            test = PairedDifference.from_metrics(counts)
            first, second = map(noun_of, name.split("_vs_"))
            kind: Kind = "not measured"
            if test:
                kind = kind_of(test.difference, test.p, self.params.gate.alpha)
            sentence = sentence_on(first, second, test, kind, self.test_images)
            found.append(ModelPair(first, second, test, kind, sentence))
        return found

    @property
    def images(self) -> dict[str, int]:
        """How many images each kind of test was made on."""
        return _groups(self._numbers(EVALUATION)).get("images", {})

    @property
    def label_audit(self) -> dict[str, float]:
        """`images`, `flagged`, `out_of_fold_accuracy`; empty if labels were not audited."""
        return self._numbers(LABEL_AUDIT) if self._has(LABEL_AUDIT) else {}

    @cached_property
    def label_issues(self) -> list[list[Any]] | None:
        """A row an image whose label is doubtful, as `ISSUE_COLUMNS`; None if there is no list."""
        revision = self.results.revision
        content = revision.read(LABEL_ISSUES)
        if content is None:
            return None
        table = table_in(content, LABEL_ISSUES, ISSUE_COLUMNS, revision.remedy)
        last = ISSUE_COLUMNS[-1]
        table[last] = pd.to_numeric(table[last], errors="coerce")
        rows: list[list[Any]] = table[[*ISSUE_COLUMNS]].to_numpy(dtype=object).tolist()
        return rows
