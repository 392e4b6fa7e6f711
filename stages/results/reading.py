"""The results of a revision: all that is read of it, for the report and for a comparison alike.

What is missing or damaged is a gap, in words; what is left can still be shown and compared.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stages.data.errors import UserError
from stages.models.names import MODELS, best
from stages.results.predictions import PREDICTIONS, Predictions, predictions_in
from stages.results.seeds import SEEDS, Training, trainings_in
from stages.results.text import some
from stages.workflow.libraries import LIBRARIES_FILE
from stages.workflow.pipeline import LOCK_FILE, PARAMS_FILE, LockEntry, flattened, is_code
from stages.workflow.revisions import Revision
from stages.workflow.staleness import Kind, all_params, changes_of

METRICS_FOLDER = "metrics/"
EVALUATE = "evaluate"  # the stage
EVALUATION = "metrics/evaluate.json"
SUMMARY = "metrics/summary.json"  # accuracies that stand in the other files, too
TEST_IMAGES = "data/prepared/test.npz"
TOLERANCE = 1e-5  # of an accuracy that is kept with six decimals


@dataclass
class Results:
    """What is known of a revision.

    Attributes:
        revision: which it is.
        sections: of its params.yaml; None if that cannot be read.
        params: all params, named as in `LockEntry`: those of other files, as libraries.yaml, too.
        lock: what its dvc.lock recorded, by stage.
        metrics: by path of the file its numbers, keys joined by dots.
        predictions: None if there are none that can be read.
        seeds: trainings with several seeds, fresh and stale; empty if there are none.
        gaps: by path, what is missing or damaged, a sentence each.
        warnings: why the files may not belong together, a sentence each.
    """

    revision: Revision
    sections: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    lock: dict[str, LockEntry] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    predictions: Predictions | None = None
    seeds: list[Training] = field(default_factory=list)
    gaps: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where these results are, as within a sentence."""
        return self.revision.place

    @property
    def has_any(self) -> bool:
        """Whether there is anything to compare."""
        return self.predictions is not None or EVALUATION in self.metrics

    @property
    def models(self) -> list[str]:
        """Names of the models that were tested, in the order of the files."""
        tested = self.metrics.get(EVALUATION, {})
        measured = [key.removesuffix(".accuracy") for key in tested if key.endswith(".accuracy")]
        predicted = self.predictions.predicted if self.predictions else ()
        return list(dict.fromkeys([*(name for name in measured if "." not in name), *predicted]))

    def tested(self, model: str, measure: str) -> float | None:
        """A measure of a model on the test images; None if it was not measured."""
        return self.metrics.get(EVALUATION, {}).get(f"{model}.{measure}")

    def number(self, path: str, key: str) -> float:
        """A number that has to be in a metrics file.

        Raises:
            UserError: it is not there, or the file is missing or damaged.
        """
        values = self.metrics.get(path) or flattened(self.revision.numbers(path))
        if key not in values:
            raise UserError(f"{path}: {key}: is missing; {self.revision.remedy}")
        return values[key]

    def best_by(self, measure: str) -> str:
        """The best of the models that were tested, by a measure of their training's metrics.

        Raises:
            UserError: it is missing, or no model was tested.
        """
        names = [name for name in MODELS if name in self.models]
        values = {
            name: self.number(f"metrics/{MODELS[name].stage}.json", measure) for name in names
        }
        if (found := best(values, measure)) is None:
            raise UserError(f"{EVALUATION}: has no model; {self.revision.remedy}")
        return found

    @property
    def test_images_md5(self) -> str | None:
        """Md5 of the test images that were measured on, as DVC recorded it."""
        evaluation = self.lock.get(EVALUATE)
        return evaluation.deps.get(TEST_IMAGES) if evaluation else None


def read_results(revision: Revision) -> Results:
    """Read all that is there.

    Raises:
        UserError: the commit is not in this clone.
    """
    results = Results(revision)
    with _noting_gaps(results, PARAMS_FILE):
        results.sections = revision.params
        results.params = flattened(revision.params)
    with _noting_gaps(results, LOCK_FILE):
        results.lock = revision.lock
        if not results.lock:
            raise UserError(
                f"{LOCK_FILE}: is missing or empty, and nothing tells which files these results "
                "are of; run `make repro`, which writes it"
            )
    if results.sections is not None:
        with _noting_gaps(results, LIBRARIES_FILE):
            results.params = all_params(revision, results.lock)
    outs = [path for entry in results.lock.values() for path in entry.outs]
    found = [path for path in outs if path.startswith(METRICS_FOLDER) and path.endswith(".json")]
    for path in dict.fromkeys([*found, EVALUATION]):
        with _noting_gaps(results, path):
            results.metrics[path] = flattened(revision.numbers(path))
    with _noting_gaps(results, SEEDS):
        results.seeds = trainings_in(revision.read(SEEDS) or b"")
    with _noting_gaps(results, PREDICTIONS):
        content = revision.read(PREDICTIONS)
        if content is None:
            raise UserError(f"{PREDICTIONS}: is missing; {revision.remedy}")
        results.predictions = predictions_in(content, revision.remedy)
    results.warnings = [*_changed_since(results), *_contradictions(results)]
    return results


@contextmanager
def _noting_gaps(results: Results, path: str) -> Iterator[None]:
    """Note a mistake in a file as a gap of the results, and go on."""
    try:
        yield
    except UserError as error:
        results.gaps[path] = str(error)


def _changed_since(results: Results) -> Iterator[str]:
    """How params, code and results are not those which dvc.lock recorded."""
    if not results.lock or results.sections is None:
        return
    entries = results.lock.values()
    written = {path: md5 for entry in entries for path, md5 in entry.outs.items()}
    paths = written.keys() | {path for entry in entries for path in entry.deps}
    data = {path for path in paths if not path.startswith(METRICS_FOLDER) and not is_code(path)}
    md5_now = functools.cache(results.revision.md5)
    changes = [
        change
        for entry in entries
        for change in changes_of(entry, written, results.params, md5_now, data)
        if change.kind is not Kind.READ or is_code(change.what)
    ]
    for kind, what in (
        (Kind.PARAM, f"settings are not those which {LOCK_FILE} recorded"),
        (Kind.WRITTEN, f"results are not the files which {LOCK_FILE} recorded"),
        (Kind.READ, "code is not that which ran"),
        (Kind.REMADE, "files were made anew after another stage had read them"),
    ):
        if found := {change.what for change in changes if change.kind is kind}:
            yield f"Some {what}: {some(found)}."


def _contradictions(results: Results) -> Iterator[str]:
    """Models whose predictions do not give the accuracy that stands in the metrics."""
    if results.predictions is None:
        return
    for model in results.predictions.predicted:
        measured = results.tested(model, "accuracy")
        counted = results.predictions.is_right(model).mean()
        if measured is not None and abs(measured - counted) > TOLERANCE:
            yield (
                f"{EVALUATION} and {PREDICTIONS} do not belong together: of {model} one has "
                f"an accuracy of {measured:.6g}, the other of {counted:.6g}."
            )
