"""Fit the baseline: least squares on gray pixels, in closed form.

Reads the section `baseline` of params.yaml and the splits train and validation.
Writes data/models/baseline.npz and metrics/train_baseline.json.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.files import write_json
from stages.data.splits import class_weights, read_split
from stages.models.baseline import fit_least_squares
from stages.models.calibration import calibration
from stages.models.storage import save_model
from stages.statistics.classification import training_metrics

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

MODEL = Path("data/models/baseline.npz")
METRICS = Path("metrics/train_baseline.json")


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, fit, measure, write."""
    training, validation = read_split("train"), read_split("validation")
    fitted = fit_least_squares(
        *(training.images, training.labels, training.classes, params.baseline.ridge),
        class_weights(training, params.data.class_weights),
    )
    chosen = calibration(fitted.scores(validation.images), validation.labels)
    classifier = replace(fitted, **chosen)
    measured = training_metrics(
        train=(training.labels, classifier.predict(training.images)),
        validation=(validation.labels, classifier.predict(validation.images)),
    )
    save_model(MODEL, classifier)
    write_json(METRICS, measured)
