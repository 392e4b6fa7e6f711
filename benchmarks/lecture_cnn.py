"""The lecture's CNN as one would write it by hand: one file, no workflow, no tricks.

Prints a JSON line an epoch: seconds since training began, accuracy on the test images.
"""

import json
import time

import keras
import numpy as np
from keras import layers


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Gray images in [0, 1], float32 [n, 32, 32, 1], and labels."""
    with np.load(f"data/prepared/{name}.npz") as split:
        gray = split["images"] @ np.array([0.299, 0.587, 0.114]) / 255
        return gray[..., None].astype("float32"), split["labels"]


x_train, y_train = load("train")
x_test, y_test = load("test")

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((32, 32, 1)),
        layers.Conv2D(32, 7, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])

start = time.perf_counter()


def report(epoch: int, logs: dict[str, float]) -> None:
    """Print what `time_to_accuracy.py` reads."""
    seconds = time.perf_counter() - start
    line = {"epoch": epoch + 1, "seconds": seconds, "accuracy": logs["val_accuracy"]}
    print(json.dumps(line), flush=True)


model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=30,
    validation_data=(x_test, y_test),
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
    verbose=0,
)
