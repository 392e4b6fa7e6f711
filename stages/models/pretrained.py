"""Features of the network as it was pretrained on ImageNet, before it has seen these images."""

import numpy as np

from stages.models.backend import keras
from stages.models.mobilenet import POOL, build_mobilenet, load_pretrained
from stages.models.network import answers


def pooled_features(
    images: np.ndarray, pretrained: dict[str, np.ndarray], input_size: int
) -> np.ndarray:
    """What the convolutional layers say of images, as a mean over each image.

    Args:
        images: uint8 [n, 32, 32, 3].
        pretrained: weights by `layer/weight` and `variant`, as `fetch_mobilenet` writes them.
        input_size: side in pixels to which images are enlarged, a multiple of 32.

    Returns:
        float32 [n, 1280].

    Raises:
        UserError: the weights do not fit.
    """
    weights = dict(pretrained)
    variant = weights.pop("variant").item()
    network = build_mobilenet(n_classes=2, input_size=input_size, variant=variant, dropout=0.0)
    load_pretrained(network, weights, variant)
    convolutions = keras.Model(network.input, network.get_layer(POOL).output)
    return answers(convolutions, images, progress="pretrained features")
