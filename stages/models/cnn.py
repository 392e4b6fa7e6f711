"""The small CNN: three convolutions, two poolings, two fully connected layers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.data.resizing import resized
from stages.data.splits import Split
from stages.models.calibration import calibration
from stages.models.checkpoints import Checkpoints
from stages.models.network import (
    NetworkClassifier,
    keras,
    layers,
    make_repeatable,
    output_units,
)
from stages.models.training import Batches, EpochReport, compile_network, targets, train

if TYPE_CHECKING:
    from stages.workflow.params import CnnRecipe

CONVOLUTIONS = ("conv_1", "conv_2", "conv_3")
CHUNK = 1000  # images whose pixels are looked at at once


def build_cnn(
    *,
    n_classes: int,
    image_size: int,
    input: str,  # noqa: A002  # the key's name in params.yaml
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    filters: Sequence[int],
    kernel_sizes: Sequence[int],
    dense_units: int,
    dropout: float,
    batch_norm: bool,
) -> keras.Model:
    """Build the network.

    Args:
        n_classes: how many classes it tells apart.
        image_size: side of the images in pixels.
        input: `color` or `grayscale`.
        pixel_mean: subtracted from the pixels in [0, 1], a value a channel.
        pixel_std: by which they are then divided.
        filters: of the three convolutions.
        kernel_sizes: side of their filters in pixels.
        dense_units: of the fully connected layer before the last.
        dropout: share of the flattened activations dropped in training.
        batch_norm: whether batch normalization follows each convolution and its pooling.

    Returns:
        A network from images uint8 [n, image_size, image_size, 3] to logits float32 [n,
        output_units].
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    flow = layers.Rescaling(1 / 255, name="to_unit_range")(images)
    if input == "grayscale":
        flow = keras.ops.image.rgb_to_grayscale(flow)
    variance = np.square(pixel_std)
    flow = layers.Normalization(mean=pixel_mean, variance=variance, name="standardize")(flow)
    for index, name in enumerate(CONVOLUTIONS):
        flow = layers.Conv2D(filters[index], kernel_sizes[index], name=name)(flow)
        # Pooling before ReLU gives the same as after it, for a quarter of the work.
        if index < 2:
            flow = layers.MaxPooling2D(2, name=f"{name}_pool")(flow)
        if batch_norm:
            flow = layers.BatchNormalization(name=f"{name}_norm")(flow)
        flow = layers.ReLU(name=f"{name}_relu")(flow)
    flow = layers.Flatten(name="flatten")(flow)
    flow = layers.Dropout(dropout, name="dropout")(flow)
    flow = layers.Dense(dense_units, activation="relu", name="dense")(flow)
    logits = layers.Dense(output_units(n_classes), name="logits")(flow)
    return keras.Model(images, logits, name="cnn")


def train_cnn(
    training: Split,
    validation: Split,
    recipe: "CnnRecipe",
    seed: int,
    report: EpochReport,
    *,
    image_size: int,
    class_weights: np.ndarray | None,
    checkpoints: Checkpoints | None = None,
) -> tuple[NetworkClassifier, pd.DataFrame]:
    """Train the network.

    Args:
        training: images to learn from.
        validation: images on which each epoch is measured; from them the temperature alone is
            learned.
        recipe: architecture and training.
        seed: of everything random.
        report: called after each epoch.
        image_size: side in pixels at which it sees the images.
        class_weights: float64 [classes], how much an image of each counts; None for one each.
        checkpoints: of the training, if it is to go on where it was interrupted.

    Returns:
        The classifier and its learning curves (see `training.train`).
    """
    make_repeatable(seed)
    classes, images = training.classes, resized(training.images, image_size)
    settings = _build_settings(images, len(classes), recipe)
    network = build_cnn(**settings)
    change = partial(augment, mirror=recipe.mirror, shift=recipe.shift)
    batches = Batches(
        lambda chosen, generator: change(images[chosen], generator),
        targets(training.labels, len(classes)),
        recipe.batch_size,
        seed,
    )
    compile_network(network, recipe, len(batches) * recipe.epochs)
    measured_on = (
        resized(validation.images, image_size),
        targets(validation.labels, len(classes)),
    )
    curves = train(
        *(network, batches, measured_on, recipe, report),
        class_weights=class_weights,
        checkpoints=checkpoints,
    )
    classifier = NetworkClassifier(
        "cnn", classes, settings, network, recipe.average_with_mirror, training.photo_size
    )
    chosen = calibration(classifier.scores(validation.images), validation.labels)
    return replace(classifier, **chosen), curves


def _build_settings(images: np.ndarray, n_classes: int, recipe: "CnnRecipe") -> dict[str, Any]:
    """Arguments of `build_cnn`, as JSON can hold them."""
    channels = 1 if recipe.input == "grayscale" else 3
    mean, std = np.zeros(channels), np.ones(channels)
    if recipe.standardize:
        mean, std = _pixel_statistics(images, channels)
    architecture = recipe.model_dump(
        include={"input", "filters", "kernel_sizes", "dense_units", "dropout", "batch_norm"}
    )
    return {
        "n_classes": n_classes,
        "image_size": images.shape[1],
        "pixel_mean": mean.tolist(),
        "pixel_std": std.tolist(),
        **architecture,
    }


def _pixel_statistics(images: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the pixels in [0, 1], float64 [channels]."""
    total, squares = np.zeros(channels), np.zeros(channels)
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].astype(np.float32) / 255
        if channels == 1:
            pixels = keras.ops.convert_to_numpy(keras.ops.image.rgb_to_grayscale(pixels))
        total += pixels.sum((0, 1, 2), dtype=np.float64)
        squares += np.square(pixels, dtype=np.float64).sum((0, 1, 2))
    n_pixels = math.prod(images.shape[:3])
    mean = total / n_pixels
    return mean, np.sqrt(squares / n_pixels - mean**2)


def response_maps(network: keras.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """How each convolution responds to an image, after pooling and ReLU.

    Args:
        network: made by `build_cnn`.
        image: uint8 [side, side, 3].

    Returns:
        By name of the layer: float32 [filters, height, width].
    """
    outputs = {name: network.get_layer(f"{name}_relu").output for name in CONVOLUTIONS}
    seen = resized(image[None], network.input.shape[1])
    maps = keras.Model(network.input, outputs).predict(seen, verbose=0)
    return {name: np.moveaxis(maps[name][0], -1, 0) for name in CONVOLUTIONS}


def augment(
    images: np.ndarray, generator: np.random.Generator, *, mirror: bool, shift: int
) -> np.ndarray:
    """Mirror and shift images at random.

    Args:
        images: [n, height, width, channels], any dtype.
        generator: source of the randomness.
        mirror: whether each image is mirrored left to right with probability one half.
        shift: largest shift in pixels, up, down, left and right; what moves in from outside is the
            image itself, reflected at its edge.

    Returns:
        A new array of the same shape and dtype.
    """
    n, height, width, _ = images.shape
    if mirror:
        flip: np.ndarray = generator.random((n, 1, 1, 1)) < 0.5
        images = np.where(flip, images[:, :, ::-1], images)
    if shift:
        frame = ((0, 0), (shift, shift), (shift, shift), (0, 0))
        padded = np.pad(images, frame, mode="reflect")
        top, left = generator.integers(0, 2 * shift + 1, size=(2, n))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        images = np.moveaxis(windows[np.arange(n), top, left], 1, -1)
    return np.ascontiguousarray(images)
