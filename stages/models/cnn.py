"""The small CNN: three convolutions, two poolings, two fully connected layers."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.data.splits import Split
from stages.models.network import (
    NetworkClassifier,
    keras,
    layers,
    make_repeatable,
    output_units,
)
from stages.models.temperature import best_temperature
from stages.models.training import Batches, EpochReport, compile_network, targets, train

if TYPE_CHECKING:
    from stages.workflow.params import CnnRecipe

CONVOLUTIONS = ("conv_1", "conv_2", "conv_3")


def build_cnn(
    *,
    n_classes: int,
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
        input: `color` or `grayscale`.
        pixel_mean: subtracted from the pixels in [0, 1], a value a channel.
        pixel_std: by which they are then divided.
        filters: of the three convolutions.
        kernel_sizes: side of their filters in pixels.
        dense_units: of the fully connected layer before the last.
        dropout: share of the flattened activations dropped in training.
        batch_norm: whether batch normalization follows each convolution and its pooling.

    Returns:
        A network from images uint8 [n, 32, 32, 3] to logits float32 [n, output_units].
    """
    images = keras.Input((32, 32, 3), dtype="uint8", name="images")
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
    classes: list[str],
    recipe: "CnnRecipe",
    seed: int,
    report: EpochReport,
) -> tuple[NetworkClassifier, pd.DataFrame]:
    """Train the network.

    Args:
        training: images to learn from.
        validation: images on which each epoch is measured; from them the temperature alone is
            learned.
        classes: names of the classes.
        recipe: architecture and training.
        seed: of everything random.
        report: called after each epoch.

    Returns:
        The classifier and its learning curves (see `training.train`).
    """
    make_repeatable(seed)
    settings = _build_settings(training.images, len(classes), recipe)
    network = build_cnn(**settings)
    change = partial(augment, mirror=recipe.mirror, shift=recipe.shift)
    batches = Batches(
        lambda chosen, generator: change(training.images[chosen], generator),
        targets(training.labels, len(classes)),
        recipe.batch_size,
        seed,
    )
    compile_network(network, recipe, len(batches) * recipe.epochs)
    measured_on = (validation.images, targets(validation.labels, len(classes)))
    curves = train(network, batches, measured_on, recipe, report)
    classifier = NetworkClassifier("cnn", classes, settings, network, recipe.average_with_mirror)
    temperature = best_temperature(classifier.scores(validation.images), validation.labels)
    return replace(classifier, temperature=temperature), curves


def _build_settings(images: np.ndarray, n_classes: int, recipe: "CnnRecipe") -> dict[str, Any]:
    """Arguments of `build_cnn`, as JSON can hold them."""
    channels = 1 if recipe.input == "grayscale" else 3
    mean, std = np.zeros(channels), np.ones(channels)
    if recipe.standardize:
        pixels = images.astype(np.float32) / 255
        if channels == 1:
            pixels = keras.ops.convert_to_numpy(keras.ops.image.rgb_to_grayscale(pixels))
        mean = pixels.mean((0, 1, 2), dtype=np.float64)
        std = pixels.std((0, 1, 2), dtype=np.float64)
    architecture = recipe.model_dump(
        include={"input", "filters", "kernel_sizes", "dense_units", "dropout", "batch_norm"}
    )
    return {
        "n_classes": n_classes,
        "pixel_mean": mean.tolist(),
        "pixel_std": std.tolist(),
        **architecture,
    }


def response_maps(network: keras.Model, image: np.ndarray) -> dict[str, np.ndarray]:
    """How each convolution responds to an image, after pooling and ReLU.

    Args:
        network: made by `build_cnn`.
        image: uint8 [32, 32, 3].

    Returns:
        By name of the layer: float32 [filters, height, width].
    """
    outputs = {name: network.get_layer(f"{name}_relu").output for name in CONVOLUTIONS}
    maps = keras.Model(network.input, outputs).predict(image[None], verbose=0)
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
