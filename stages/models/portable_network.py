"""A network of layers that every runtime has, with all that makes its outputs probabilities."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.models.network import keras, layers

if TYPE_CHECKING:
    from stages.models.network import NetworkClassifier


def whole_network(classifier: "NetworkClassifier") -> keras.Model:
    """A network with all that makes its outputs probabilities.

    Args:
        classifier: whose network, size of photos, mirror images and temperature.

    Returns:
        From images uint8 [n, photo_size, photo_size, 3] to probabilities float32 [n, classes].
    """
    network = _portable(classifier.network)
    side, seen = classifier.photo_size, network.input.shape[1]
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    flow = images
    if side != seen:
        flow = _products("reduce", _pillow_matrix(side, seen), in_bytes=True)(flow)
    logits = network(flow)
    if classifier.average_with_mirror:
        logits = (logits + network(keras.ops.flip(flow, axis=2))) / 2
    if logits.shape[1] == 1:  # it speaks for the second of two classes
        logits = keras.ops.concatenate([keras.ops.zeros_like(logits), logits], axis=1)
    scores = layers.Rescaling(1 / classifier.temperature, name="temperature")(logits)
    whole = keras.Model(images, layers.Softmax(name="probabilities")(scores), name=classifier.kind)
    whole(np.zeros((1, side, side, 3), np.uint8))  # Keras exports what has been called
    return whole


def _portable(network: keras.Model) -> keras.Model:
    """The same network of layers that every runtime has, and is fast with.

    TensorFlow Lite has no bicubic interpolation, and tf2onnx takes the constants of `Normalization`
    for inputs. Fully connected layers on every pixel become 1x1 convolutions: with these MobileNet
    takes 40 ms an image instead of 69 in ONNX Runtime, and 30 instead of 37 in TensorFlow Lite.
    """

    def copied(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, layers.Resizing):
            side = layer.input.shape[1]
            unit = np.eye(side, dtype=np.float32)[:, :, None, None].repeat(side, axis=2)
            matrix = keras.ops.convert_to_numpy(layer(unit))[:, :, 0, 0].T
            return _products(layer.name, matrix, in_bytes=False)
        if isinstance(layer, layers.Normalization):
            std = np.sqrt(layer.input_variance)
            return layers.Rescaling(1 / std, -np.array(layer.input_mean) / std, name=layer.name)
        if isinstance(layer, layers.Dense) and len(layer.input.shape) == 4:
            return layers.Conv2D(layer.units, 1, activation=layer.activation, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    same = keras.models.clone_model(network, clone_function=copied)
    for weight, original in zip(same.weights, network.weights, strict=True):
        weight.assign(keras.ops.reshape(original, weight.shape))
    return same


def _products(name: str, matrix: np.ndarray, *, in_bytes: bool) -> keras.Layer:
    """A layer that brings images to another size by two matrix products.

    Interpolation is linear: along each axis a matrix, made of what it makes of the unit vectors.
    The products are 1x1 convolutions, which TensorFlow Lite takes for batches of any size.

    Args:
        name: of the layer.
        matrix: float32 [new side, side].
        in_bytes: whether to round to whole numbers from 0 to 255 after each, as Pillow does.
    """

    def product(flow: Any) -> Any:
        """Along the last axis."""
        made = keras.ops.conv(flow, matrix.T[None, None])
        return keras.ops.clip(keras.ops.floor(made + 0.5), 0, 255) if in_bytes else made

    class Products(layers.Layer):  # type: ignore[misc]
        def call(self, images: Any) -> Any:
            flow = keras.ops.cast(images, "float32")  # [n, rows, columns, colors]
            flow = product(keras.ops.transpose(flow, (0, 1, 3, 2)))  # the columns first, as Pillow
            flow = product(keras.ops.transpose(flow, (0, 3, 2, 1)))
            return keras.ops.transpose(flow, (0, 3, 1, 2))

    return Products(name=name)


def _pillow_matrix(side: int, new_side: int) -> np.ndarray:
    """What `stages.data.resizing.resized` does along an axis, float32 [new side, side]."""
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    return np.asarray(unit.resize((new_side, side), Image.Resampling.BICUBIC)).T
