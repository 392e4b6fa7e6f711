"""Two phases as in Keras's guide to transfer learning: train a head, then unfreeze everything.

https://keras.io/guides/transfer_learning: the base frozen and run anew for every image and epoch,
Adam with its defaults for the head, then all layers at 1e-5. The same network, weights and input
size as the stage; ends after MINUTES.

Prints a JSON line an epoch: seconds since training began, accuracy on the test images.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np

from stages.data.splits import read_split
from stages.models.mobilenet import build_mobilenet, load_pretrained
from stages.workflow.params import read_params

MINUTES = 12
HEAD_EPOCHS = 2

training, test = read_split("train"), read_split("test")
with np.load("data/mobilenet_v2.npz") as weights:
    arrays = dict(weights)
variant = arrays.pop("variant").item()

keras.utils.set_random_seed(0)
params = read_params(Path("params.yaml")).mobilenet
model = build_mobilenet(
    image_size=32, n_classes=2, input_size=params.input_size, variant=variant, dropout=0.2
)
load_pretrained(model, arrays, variant)

start = time.perf_counter()


def report(epoch: int, logs: dict[str, float]) -> None:
    """Print what `time_to_accuracy.py` reads."""
    seconds = time.perf_counter() - start
    line = {"epoch": epoch + 1, "seconds": seconds, "accuracy": logs["val_accuracy"]}
    print(json.dumps(line), flush=True)
    model.stop_training = seconds > MINUTES * 60


def train(learning_rate: float, epochs: int) -> None:
    """Compile anew, as the guide says after a change of `trainable`, and train."""
    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)],
    )
    model.fit(
        training.images,
        training.labels,
        batch_size=32,
        epochs=epochs,
        validation_data=(test.images, test.labels),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
        verbose=0,
    )


for layer in model.layers:
    layer.trainable = layer.name == "logits"
train(learning_rate=1e-3, epochs=HEAD_EPOCHS)
for layer in model.layers:
    layer.trainable = True
train(learning_rate=1e-5, epochs=100)
