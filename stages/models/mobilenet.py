"""MobileNetV2, pretrained on ImageNet: the network, its weights and the split into two parts.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018. Layers are named as
in keras.applications, so that weights go from one to the other by name.

There are no batch normalization layers: they must not learn here (some channels are dead, with a
variance down to 1e-44), and one that does not learn is a factor and an addend a channel, which are
folded into the convolution before it. And the 1x1 convolutions are fully connected layers on every
pixel: the same numbers, but on a CPU matrix products are trained on in about half the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stages.data.errors import UserError
from stages.models.network import keras, layers, output_units

VariantName = Literal["torch", "keras"]
POOL = "pool"
HEAD = "logits"

# Table 2 of the paper: expansion, output channels, repeats, stride of the first.
INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Variant:
    """What pretrained weights expect of the network around them.

    Attributes:
        mean: subtracted from the pixels in [0, 1], a value a channel.
        std: by which they are then divided.
        symmetric_padding: whether convolutions of stride 2 pad a pixel on every side, as
            torchvision does; keras.applications pads on the right and below only.
        epsilon: of batch normalization.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    symmetric_padding: bool
    epsilon: float


VARIANTS: dict[VariantName, Variant] = {
    # torchvision's models: mean and deviation of ImageNet, PyTorch's default epsilon.
    "torch": Variant(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), symmetric_padding=True, epsilon=1e-5
    ),
    # keras.applications.mobilenet_v2: pixels in [-1, 1].
    "keras": Variant((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), symmetric_padding=False, epsilon=1e-3),
}


def build_mobilenet(
    *, n_classes: int, image_size: int, input_size: int, variant: VariantName, dropout: float
) -> keras.Model:
    """Build the network with a new fully connected head.

    Args:
        n_classes: how many classes it tells apart.
        image_size: side of the images in pixels.
        input_size: side in pixels to which images are enlarged, a multiple of 32.
        variant: which pretrained weights it will be given.
        dropout: share of the pooled features dropped in training.

    Returns:
        A network from images uint8 [n, image_size, image_size, 3] to logits float32 [n,
        output_units].
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    flow = layers.Rescaling(1 / 255, name="to_unit_range")(images)
    flow = layers.Resizing(input_size, input_size, "bicubic", name="enlarge")(flow)
    expected = VARIANTS[variant]
    variance = np.square(expected.std)
    flow = layers.Normalization(mean=expected.mean, variance=variance, name="standardize")(flow)
    flow = _convolutions(flow, expected)
    flow = layers.GlobalAveragePooling2D(name=POOL)(flow)
    flow = layers.Dropout(dropout, name="dropout")(flow)
    logits = layers.Dense(output_units(n_classes), name=HEAD)(flow)
    return keras.Model(images, logits, name="mobilenet")


def _convolutions(flow: keras.KerasTensor, variant: Variant) -> keras.KerasTensor:
    """Feature maps float32 [n, side / 32, side / 32, 1280] of normalized images."""
    flow = _padded(flow, variant, "Conv1_pad")
    flow = layers.Conv2D(32, 3, strides=2, activation="relu6", name="Conv1")(flow)
    block = 0
    for expansion, channels, repeats, first_stride in INVERTED_RESIDUALS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            flow = _inverted_residual(flow, variant, block, expansion, channels, stride)
            block += 1
    return layers.Dense(1280, activation="relu6", name="Conv_1")(flow)


def _inverted_residual(
    flow: keras.KerasTensor,
    variant: Variant,
    block: int,
    expansion: int,
    channels: int,
    stride: int,
) -> keras.KerasTensor:
    prefix = f"block_{block}_" if block else "expanded_conv_"
    start = flow
    if expansion > 1:
        expanded = expansion * flow.shape[-1]
        flow = layers.Dense(expanded, activation="relu6", name=f"{prefix}expand")(flow)
    if stride == 2:
        flow = _padded(flow, variant, f"{prefix}pad")
    flow = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        activation="relu6",
        name=f"{prefix}depthwise",
    )(flow)
    flow = layers.Dense(channels, name=f"{prefix}project")(flow)
    if stride == 1 and start.shape[-1] == channels:
        flow = layers.Add(name=f"{prefix}add")([start, flow])
    return flow


def _padded(flow: keras.KerasTensor, variant: Variant, name: str) -> keras.KerasTensor:
    before = 1 if variant.symmetric_padding else 0
    return layers.ZeroPadding2D(((before, 1), (before, 1)), name=name)(flow)


def build_pretrained(
    pretrained: Mapping[str, np.ndarray], *, photo_size: int, input_size: int, **architecture: Any
) -> tuple[keras.Model, dict[str, Any]]:
    """The network with pretrained convolutional layers and a new head.

    Args:
        pretrained: weights by `layer/weight` and `variant`, as `fetch_mobilenet` writes them.
        photo_size: side in pixels of the photos; larger ones than `input_size` are reduced before.
        input_size: see `build_mobilenet`.
        architecture: its other arguments but the variant.

    Returns:
        The network, and all arguments of `build_mobilenet` that it was built with.

    Raises:
        UserError: the weights do not fit.
    """
    arrays = dict(pretrained)
    variant = arrays.pop("variant").item()
    sizes = {"image_size": min(photo_size, input_size), "input_size": input_size}
    settings = {"variant": variant, **sizes, **architecture}
    network = build_mobilenet(**settings)
    load_pretrained(network, arrays, variant)
    return network, settings


def load_pretrained(
    network: keras.Model, arrays: dict[str, np.ndarray], variant: VariantName
) -> None:
    """Give the convolutional layers of a network their pretrained weights; the head keeps its own.

    Args:
        network: made by `build_mobilenet`.
        arrays: by name as `layer/weight`, as `fetch_mobilenet` writes them.
        variant: which weights they are.

    Raises:
        UserError: weights of a layer are missing or have another shape.
    """
    epsilon = VARIANTS[variant].epsilon
    with_weights = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
    for layer in network.layers:
        if isinstance(layer, with_weights) and layer.name != HEAD:
            try:
                kernel, bias = folded(arrays, layer.name, epsilon)
                layer.set_weights([kernel.reshape(layer.kernel.shape), bias])
            except (KeyError, ValueError) as error:
                raise UserError(
                    f"the pretrained weights do not fit the layer {layer.name} ({error}); "
                    "MobileNetV2 with alpha 1.0 is wanted"
                ) from error


def folded(
    arrays: dict[str, np.ndarray], layer: str, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution that does the work of the batch normalization after it.

    norm(conv(x)) = gamma (conv(x) - mean) / sqrt(variance + epsilon) + beta, Ioffe and Szegedy,
    2015, algorithm 2.

    Args:
        arrays: float32, by name as `layer/weight`.
        layer: name of the convolution.
        epsilon: of the normalization.

    Returns:
        The kernel, of the same shape, and the bias [channels], both float32.
    """
    norm = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(layer, f"{layer}_BN")
    gamma, beta, mean, variance = (
        arrays[f"{norm}/{name}"].astype(np.float64)
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    factor = gamma / np.sqrt(variance + epsilon)
    kernel = arrays[f"{layer}/kernel"]
    depthwise = kernel.shape[-1] == 1  # [height, width, channels, 1], else [.., before, channels]
    scaled = kernel * (factor[:, None] if depthwise else factor)
    return scaled.astype(np.float32), (beta - mean * factor).astype(np.float32)


@dataclass(frozen=True)
class Parts:
    """A network in pieces that share its weights, each to be run on what the one before it gives.

    Attributes:
        frozen: from images to the cut.
        upper: from the cut to pooled features float32 [n, 1280].
        head: from pooled features to logits.
        trainable: `upper` and `head` in one.
    """

    frozen: keras.Model
    upper: keras.Model
    head: keras.Model
    trainable: keras.Model


def cut(network: keras.Model, first_trainable_block: int) -> Parts:
    """Cut a network in pieces.

    Args:
        network: made by `build_mobilenet`.
        first_trainable_block: 2 to 16, or 17 to cut before the last convolution.
    """
    below = f"block_{first_trainable_block - 1}_"
    last = [layer for layer in network.layers if layer.name.startswith(below)][-1]
    pooled = network.get_layer(POOL).output
    return Parts(
        frozen=keras.Model(network.input, last.output, name="frozen"),
        upper=keras.Model(last.output, pooled, name="upper"),
        head=keras.Model(pooled, network.output, name="head"),
        trainable=keras.Model(last.output, network.output, name="trainable"),
    )
