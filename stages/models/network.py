"""What the two networks have in common: a Keras model from raw images to logits."""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.data.errors import UserError
from stages.data.progress import Progress
from stages.data.resizing import resized
from stages.data.room import room
from stages.models.storage import StoredModel
from stages.models.temperature import probabilities


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C++ code writes to file descriptor 2, and show it only if the block fails."""
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


# Both read their settings when they are imported, so they are imported here alone. No GPU, on which
# training would not repeat bit for bit. TensorFlow tells of GPUs before it reads its log level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
with quiet():
    import keras
    import tensorflow as tf
    from keras import layers

tf.get_logger().setLevel("ERROR")  # it warns that networks of several shapes are run

__all__ = ["keras", "layers", "tf"]

# MobileNet's feature maps of 10 images fit the cache of a CPU: half the time of 50. Two batches at
# once keep two cores busy, which the small layers of one do not: four fifths of the time.
PREDICTION_BATCH = 10
OF_CLASSIFIER = ("average_with_mirror", "photo_size", "temperature", "sure_from")
PREDICTION_THREADS = 2


@dataclass(frozen=True)
class NetworkClassifier:
    """A trained network.

    Attributes:
        kind: `cnn` or `mobilenet`.
        classes: names of the classes.
        settings: arguments of the function that builds `network` (see `from_stored`).
        network: from images uint8 [n, image_size, image_size, 3] to logits float32 [n,
            output_units].
        average_with_mirror: whether a prediction is the mean over an image and its mirror image.
        photo_size: side in pixels of the images that it is given, and brings to `image_size`.
        temperature: by which the scores are divided before the softmax.
        sure_from: probability from which a prediction counts as sure; None if none does.
    """

    kind: str
    classes: list[str]
    settings: dict[str, Any]
    network: keras.Model
    average_with_mirror: bool
    photo_size: int
    temperature: float = 1.0
    sure_from: float | None = None

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores, float64 [n, classes], of images uint8 [n, photo_size, photo_size, 3]."""
        logits = predict_in_batches(self.network, images)
        if self.average_with_mirror:
            logits = (logits + predict_in_batches(self.network, images[:, :, ::-1])) / 2
        return class_scores(logits)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes], of images uint8 [n, photo_size, photo_size, 3]."""
        return probabilities(self.scores(images), self.temperature)

    def to_stored(self) -> StoredModel:
        """The model as it is written to a file."""
        settings = {
            **self.settings,
            **{name: getattr(self, name) for name in OF_CLASSIFIER},
        }
        return StoredModel(self.kind, self.classes, settings, named_weights(self.network))


def predict_in_batches(
    network: keras.Model,
    inputs: np.ndarray,
    *,
    dtype: type = np.float32,
    progress: str | None = None,
) -> np.ndarray:
    """What a network, or a part of one, gives for its inputs.

    Args:
        network: with one input and one output.
        inputs: [n, ...]; images of another size than the network takes are resized.
        dtype: in which the outputs are kept.
        progress: title under which it is shown; the network's name by default.

    Returns:
        [n, ...], in the order of the inputs.
    """
    kept = room((len(inputs), *network.output.shape[1:]), dtype)
    network.make_predict_function()  # once, before the threads want it

    def predict(start: int) -> int:
        batch = inputs[start : start + PREDICTION_BATCH]
        if batch.shape[1:] != network.input.shape[1:]:
            batch = resized(batch, network.input.shape[1])
        kept[start : start + len(batch)] = network.predict_on_batch(batch)
        return len(batch)

    starts = range(0, len(inputs), PREDICTION_BATCH)
    with (
        ThreadPoolExecutor(PREDICTION_THREADS) as pool,
        closing(Progress(progress or network.name, len(inputs), "images")) as bar,
    ):
        for count in pool.map(predict, starts):
            bar.update(count)
    return kept


def from_stored(stored: StoredModel, build: Callable[..., keras.Model]) -> NetworkClassifier:
    """The classifier of a file: `build(**settings)` makes the network, the arrays are its weights.

    Raises:
        UserError: the settings do not fit the function, or the arrays the network.
    """
    settings = dict(stored.settings)
    try:
        of_classifier = {name: settings.pop(name) for name in OF_CLASSIFIER}
        network = build(**settings)
        expected = {weight.path: tuple(weight.shape) for weight in network.weights}
        given = {path: array.shape for path, array in stored.arrays.items()}
        if odd := sorted(path for path, _ in expected.items() ^ given.items()):
            raise ValueError(f"{odd[0]} and {len(odd) - 1} other weights differ")
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"the stored {stored.kind} does not fit this version of the code ({error}); train it "
            "anew with `dvc repro`"
        ) from error
    for weight in network.weights:
        weight.assign(stored.arrays[weight.path])
    return NetworkClassifier(stored.kind, stored.classes, settings, network, **of_classifier)


def named_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """All weights of a network, trained or not, by their path in it."""
    return {weight.path: weight.numpy() for weight in network.weights}


def output_units(n_classes: int) -> int:
    """Units of a network's last layer: one for two classes (as in the lecture), else one each."""
    return 1 if n_classes == 2 else n_classes


def class_scores(logits: np.ndarray) -> np.ndarray:
    """Scores whose softmax are the probabilities of the classes.

    Args:
        logits: float [n, output_units]; a single unit speaks for the second of two classes.

    Returns:
        float64 [n, classes].
    """
    scores = logits.astype(np.float64)
    return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores


def make_repeatable(seed: int) -> None:
    """Make what follows repeat bit for bit on this machine, from a seed.

    Across machines the last digits differ: the CPU kernels do (oneDNN issue 1443).
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
