"""Fit the baseline: least squares on gray pixels, in closed form.

Reads the section `baseline` of params.yaml and the splits train and validation.
Writes data/models/baseline.npz, metrics/train_baseline.json and a picture of the weights.
"""

from pathlib import Path

from stages.data.files import write_json
from stages.data.splits import read_split
from stages.figures.drawing import image_grid, save_figure
from stages.models.baseline import fit_least_squares, sharpened
from stages.models.storage import save_model
from stages.statistics.classification import classification_metrics
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

MODEL = Path("data/models/baseline.npz")
METRICS = Path("metrics/train_baseline.json")
WEIGHTS = Path("metrics/figures/baseline_weights.png")


def main() -> None:
    """Read, fit, measure, write."""
    params = read_params()
    classes: list[str] = [*params.data.classes]
    with track_stage("train_baseline"):
        training, validation = read_split("train"), read_split("validation")
        fitted = fit_least_squares(training.images, training.labels, classes, params.baseline.ridge)
        classifier = sharpened(fitted, validation.images, validation.labels)
        save_model(MODEL, classifier)
        measured = {
            name: classification_metrics(split.labels, classifier.predict(split.images))
            for name, split in (("train", training), ("validation", validation))
        }
        write_json(METRICS, measured)
        weights = [row.reshape(1, 32, 32) for row in classifier.weights.T]
        save_figure(WEIGHTS, image_grid(weights, classes, "Baseline: weights", cell=2.0))


if __name__ == "__main__":
    run_stage(main)
