"""Fine-tune the pretrained MobileNetV2: first a new head, then the upper blocks with it.

Reads the section `mobilenet` of params.yaml, data/mobilenet_v2.npz and the splits train and
validation. Writes data/models/mobilenet.npz, metrics/finetune_mobilenet.json and its learning
curves.
"""

from pathlib import Path

from stages.data.files import read_arrays, write_csv, write_json
from stages.data.splits import read_split
from stages.models.finetuning import finetune
from stages.models.storage import save_model
from stages.statistics.classification import classification_metrics
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

PRETRAINED = Path("data/mobilenet_v2.npz")
MODEL = Path("data/models/mobilenet.npz")
METRICS = Path("metrics/finetune_mobilenet.json")
CURVES = Path("metrics/finetune_mobilenet_curves.csv")


def main() -> None:
    """Read, fine-tune, measure, write."""
    params = read_params()
    with track_stage("finetune_mobilenet") as tracker:
        training, validation = read_split("train"), read_split("validation")
        pretrained = read_arrays(PRETRAINED)
        variant = pretrained.pop("variant").item()
        tuned = finetune(
            training,
            validation,
            [*params.data.classes],
            pretrained,
            variant,
            params.mobilenet,
            tracker.log_epoch,
        )
        save_model(MODEL, tuned.classifier)
        write_csv(CURVES, tuned.curves)
        measured = {
            "train": classification_metrics(training.labels, tuned.train_probabilities),
            "validation": classification_metrics(validation.labels, tuned.validation_probabilities),
        }
        write_json(METRICS, measured)


if __name__ == "__main__":
    run_stage(main)
