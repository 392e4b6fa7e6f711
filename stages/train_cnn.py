"""Train the small CNN by the recipe that `cnn.recipe` names.

Reads the section `cnn` of params.yaml and the splits train and validation.
Writes data/models/cnn.npz, metrics/train_cnn.json and its learning curves.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.files import write_csv, write_json
from stages.data.splits import class_weights, read_split, split_path
from stages.models.checkpoints import Checkpoints
from stages.models.cnn import train_cnn
from stages.models.storage import save_model
from stages.statistics.classification import training_metrics

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

MODEL = Path("data/models/cnn.npz")
METRICS = Path("metrics/train_cnn.json")
CURVES = Path("metrics/train_cnn_curves.csv")


def main(params: "Params", report: "EpochReport") -> None:
    """Read, train, measure, write."""
    training, validation = read_split("train"), read_split("validation")
    checkpoints = Checkpoints("train_cnn", params, [split_path("train"), split_path("validation")])
    classifier, curves = train_cnn(
        *(training, validation, params.cnn.chosen, params.cnn.seed, report),
        image_size=params.data.image_size,
        class_weights=class_weights(training, params.data.class_weights),
        checkpoints=checkpoints,
    )
    measured = training_metrics(
        train=(training.labels, classifier.predict(training.images)),
        validation=(validation.labels, classifier.predict(validation.images)),
    )
    save_model(MODEL, classifier)
    write_csv(CURVES, curves)
    write_json(METRICS, measured)
    checkpoints.remove()
