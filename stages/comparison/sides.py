"""One side of a comparison: settings, records, metrics and predictions of a state of the project.

What is missing or damaged is a gap, in words; what is left can still be compared.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stages.comparison import predictions
from stages.comparison.endpoints import Endpoint
from stages.comparison.predictions import Predictions, predictions_in
from stages.data.errors import UserError
from stages.reporting.reading import REMEDY, numbers_in
from stages.reporting.recorded import METRICS_FOLDER, find_doubts, settings_in
from stages.reporting.tables import EVALUATION
from stages.tracking.declared import LOCK_FILE, PARAMS_FILE, StageRecord, flattened, records_in

TEST_IMAGES = "data/prepared/test.npz"
TOLERANCE = 1e-5  # of an accuracy that is kept with six decimals
OF_COMMIT = "compare another revision"


@dataclass
class Side:
    """What is known of one side.

    Attributes:
        endpoint: which state of the project it is.
        settings: the sections of its params.yaml; None if it cannot be read.
        records: what its dvc.lock records, by stage.
        metrics: by path of the file its numbers, keys joined by dots.
        predictions: None if there are none that can be read.
        gaps: by path, what is missing or damaged, a sentence each.
        doubts: why the files may not belong together, a sentence each.
    """

    endpoint: Endpoint
    settings: dict[str, Any] | None = None
    records: dict[str, StageRecord] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    predictions: Predictions | None = None
    gaps: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def flat_settings(self) -> dict[str, Any]:
        """The settings, keys joined by dots."""
        return flattened(self.settings or {})

    @property
    def has_results(self) -> bool:
        """Whether there is anything to compare."""
        return self.predictions is not None or str(EVALUATION) in self.metrics

    @property
    def models(self) -> list[str]:
        """Names of the models that were tested, in the order of the files."""
        tested = self.metrics.get(str(EVALUATION), {})
        measured = [key.removesuffix(".accuracy") for key in tested if key.endswith(".accuracy")]
        answering = self.predictions.answers if self.predictions else ()
        return list(dict.fromkeys([*(name for name in measured if "." not in name), *answering]))

    def tested(self, model: str, measure: str) -> float | None:
        """A measure of a model on the test images; None if it was not measured."""
        return self.metrics.get(str(EVALUATION), {}).get(f"{model}.{measure}")

    @property
    def test_images_md5(self) -> str | None:
        """Md5 of the test images that were measured on, as DVC recorded it."""
        evaluation = self.records.get("evaluate")
        return evaluation.deps.get(TEST_IMAGES) if evaluation else None


def read_side(endpoint: Endpoint) -> Side:
    """Read all that is there.

    Raises:
        UserError: the commit is not in this clone.
    """
    read = functools.cache(endpoint.read)
    side = Side(endpoint)
    remedy = REMEDY if endpoint.is_workspace else OF_COMMIT
    _read_settings(side, read)
    _read_records(side, read)
    for path in _metrics_paths(side.records):
        with _noting_gaps(side, path):
            content = _present(read, path, remedy)
            side.metrics[path] = flattened(numbers_in(content, path, remedy))
    with _noting_gaps(side, predictions.PATH):
        content = _present(read, predictions.PATH, remedy)
        side.predictions = predictions_in(content, remedy)
    side.doubts = [*_doubts(side, read), *_contradictions(side)]
    return side


@contextmanager
def _noting_gaps(side: Side, path: str) -> Iterator[None]:
    """Note a mistake in a file as a gap of the side, and go on."""
    try:
        yield
    except UserError as error:
        side.gaps[path] = str(error)


def _present(read: Callable[[str], bytes | None], path: str, remedy: str) -> bytes:
    content = read(path)
    if content is None:
        raise UserError(f"{path}: is missing; {remedy}")
    return content


def _read_settings(side: Side, read: Callable[[str], bytes | None]) -> None:
    path = str(PARAMS_FILE)
    with _noting_gaps(side, path):
        side.settings = settings_in(_present(read, path, "restore it from Git"))
        if side.settings is None:
            raise UserError(f"{path}: is not YAML with sections, so its settings are not compared")


def _read_records(side: Side, read: Callable[[str], bytes | None]) -> None:
    path = str(LOCK_FILE)
    with _noting_gaps(side, path):
        content = _present(read, path, "run `make repro`, which writes it")
        try:
            side.records = records_in(content.decode())
        except UnicodeDecodeError:
            raise UserError(f"{path}: is no text; restore it from Git") from None


def _metrics_paths(records: dict[str, StageRecord]) -> list[str]:
    recorded = [path for record in records.values() for path in record.outs]
    found = [path for path in recorded if path.startswith(METRICS_FOLDER)]
    return list(dict.fromkeys([*(p for p in found if p.endswith(".json")), str(EVALUATION)]))


def _doubts(side: Side, read: Callable[[str], bytes | None]) -> list[str]:
    """What does not fit, without files that are missing, which are gaps already."""
    if not side.records or side.settings is None:
        return []

    def md5_of(path: str) -> str | None:
        content = read(path)
        if content is None:
            return None
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    return find_doubts(side.records, side.flat_settings, md5_of)


def _contradictions(side: Side) -> list[str]:
    """Models whose predictions do not give the accuracy that stands in the metrics."""
    if side.predictions is None:
        return []
    found = []
    for model in side.predictions.answers:
        told, counted = side.tested(model, "accuracy"), side.predictions.is_right(model).mean()
        if told is not None and abs(told - counted) > TOLERANCE:
            found.append(
                f"{EVALUATION} and {predictions.PATH} do not belong together: of {model} one has "
                f"an accuracy of {told:.6g}, the other of {counted:.6g}."
            )
    return found
