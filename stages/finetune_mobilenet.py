"""Fine-tune the pretrained MobileNetV2: first a new head, then the upper blocks with it.

Reads the section `mobilenet` of params.yaml, data/mobilenet_v2.npz and the splits train and
validation. Writes data/models/mobilenet.npz, metrics/finetune_mobilenet.json and its learning
curves.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.files import read_arrays, write_csv, write_json
from stages.data.splits import class_weights, read_split, split_path
from stages.models.checkpoints import Checkpoints
from stages.models.finetuning import finetune
from stages.models.storage import save_model
from stages.statistics.classification import training_metrics

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

PRETRAINED = Path("data/mobilenet_v2.npz")
MODEL = Path("data/models/mobilenet.npz")
METRICS = Path("metrics/finetune_mobilenet.json")
CURVES = Path("metrics/finetune_mobilenet_curves.csv")


def main(params: "Params", report: "EpochReport") -> None:
    """Read, fine-tune, measure, write."""
    training, validation = read_split("train"), read_split("validation")
    inputs = [split_path("train"), split_path("validation"), PRETRAINED]
    checkpoints = Checkpoints("finetune_mobilenet", params, inputs)
    tuned = finetune(
        *(training, validation, read_arrays(PRETRAINED), params.mobilenet, report),
        class_weights(training, params.data.class_weights),
        checkpoints,
    )
    measured = training_metrics(
        train=(training.labels, tuned.train_probabilities),
        validation=(validation.labels, tuned.validation_probabilities),
    )
    save_model(MODEL, tuned.classifier)
    write_csv(CURVES, tuned.curves)
    write_json(METRICS, measured)
    checkpoints.remove()
