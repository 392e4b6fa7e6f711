"""What the MobileNet sees: its features of images, and which part of them decides."""

from collections.abc import Sequence

import numpy as np

from stages.models.mobilenet import HEAD, POOL, build_pretrained
from stages.models.network import keras, predict_in_batches


def pooled_features(
    parts: Sequence[np.ndarray], pretrained: dict[str, np.ndarray], input_size: int
) -> np.ndarray:
    """What the convolutional layers say of images, as a mean over each image.

    Args:
        parts: uint8 [n, side, side, 3] each, run one after the other, as large ones are on disk.
        pretrained: weights by `layer/weight` and `variant`, as `fetch_mobilenet` writes them.
        input_size: side in pixels to which images are brought, a multiple of 32.

    Returns:
        float32 [n, 1280], of all parts.

    Raises:
        UserError: the weights do not fit.
    """
    network, _ = build_pretrained(
        pretrained,
        photo_size=parts[0].shape[1],
        input_size=input_size,
        n_classes=2,
        dropout=0.0,
    )
    convolutions = keras.Model(network.input, network.get_layer(POOL).output)
    return np.concatenate(
        [predict_in_batches(convolutions, part, progress="pretrained features") for part in parts]
    )


def last_convolution(network: keras.Model) -> keras.Model:
    """The part of a network, made by `build_mobilenet`, that gives the maps of `feature_maps`."""
    return keras.Model(network.input, network.get_layer(POOL).input)


def feature_maps(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the last convolution says of each part of an image.

    Args:
        network: made by `build_mobilenet`.
        images: uint8 [n, side, side, 3].

    Returns:
        float32 [n, height, width, 1280]. The mean over height and width are the features from which
        the head makes its logits.
    """
    return predict_in_batches(last_convolution(network), images)


def evidence(network: keras.Model, maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much each part of an image speaks for a class: class activation maps.

    The logit of a network that ends with a mean over the image and one linear layer is the sum of
    what each part adds, so that the map is exact: it adds up to the logit, up to the bias (B. Zhou
    et al., "Learning Deep Features for Discriminative Localization", 2016). Grad-CAM (Selvaraju et
    al., 2017) gives the same on such a network, up to a factor, and needs gradients for it.

    Args:
        network: made by `build_mobilenet`.
        maps: of `feature_maps`.
        labels: int [n], the class of interest for each image. With two classes it does not matter:
            the map is for the second class, and what is negative speaks for the first.

    Returns:
        float32 [n, height, width], in logits.
    """
    kernel, _ = network.get_layer(HEAD).get_weights()
    parts = maps @ (kernel / (maps.shape[1] * maps.shape[2]))  # [n, height, width, output units]
    if kernel.shape[1] == 1:
        of_class: np.ndarray = parts[..., 0]
        return of_class
    # Against the mean of all classes: what speaks for all alike decides nothing.
    centred = parts - parts.mean(axis=-1, keepdims=True)
    own: np.ndarray = np.take_along_axis(centred, labels[:, None, None, None], axis=-1)[..., 0]
    return own
