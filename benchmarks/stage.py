"""What a stage's training does, measured on the test images after each epoch.

Usage: python -m benchmarks.stage {cnn,mobilenet}

The whole time counts: the frozen blocks of MobileNet (also over the test images), the head, the
measuring. Nothing is chosen here; the averaging over mirror images, which would add some tenths of
a per cent, is left out.

Prints a JSON line an epoch: seconds since training began, accuracy on the test images.
"""

import json
import sys
import time

from stages.data.files import read_arrays
from stages.data.splits import read_split
from stages.finetune_mobilenet import PRETRAINED
from stages.models.cnn import train_cnn
from stages.models.finetuning import finetune
from stages.workflow.params import read_params

params = read_params()
training, test = read_split("train"), read_split("test")
pretrained = read_arrays(PRETRAINED)

start = time.perf_counter()


def report(epoch: int, measures: dict[str, float]) -> None:
    """Print what `time_to_accuracy.py` reads."""
    seconds = time.perf_counter() - start
    line = {"epoch": epoch, "seconds": seconds, "accuracy": measures["validation_accuracy"]}
    print(json.dumps(line), flush=True)


if sys.argv[1:] == ["cnn"]:
    train_cnn(
        *(training, test, params.cnn.chosen, params.cnn.seed, report),
        image_size=params.data.image_size,
        class_weights=None,
    )
elif sys.argv[1:] == ["mobilenet"]:
    finetune(training, test, pretrained, params.mobilenet, report, class_weights=None)
else:
    sys.exit(__doc__)
