"""Fetch MobileNetV2 weights pretrained on ImageNet, check them, and store them under Keras's names.

Reads mobilenet.weights and mobilenet.weights_sha256 of params.yaml; a good file in data/raw/ needs
no network. Writes data/mobilenet_v2.npz: 260 arrays, and which variant of the network they fit.
"""

from pathlib import Path

import numpy as np

from stages.data.fetching import RAW_FOLDER
from stages.data.files import write_arrays
from stages.models.pretrained_weights import obtain_mobilenet
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

OUTPUT = Path("data/mobilenet_v2.npz")


def main() -> None:
    """Obtain, write."""
    params = read_params().mobilenet
    with track_stage("fetch_mobilenet"):
        variant, arrays = obtain_mobilenet(params.weights, params.weights_sha256, RAW_FOLDER)
        write_arrays(OUTPUT, {"variant": np.array(variant), **arrays})


if __name__ == "__main__":
    run_stage(main)
