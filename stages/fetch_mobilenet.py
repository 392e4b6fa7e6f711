"""Fetch MobileNetV2 weights pretrained on ImageNet, check them, and store them under Keras's names.

Reads sources.mobilenet and sources.mobilenet_sha256 of params.yaml; a good file in data/raw/ needs
no network. Writes data/mobilenet_v2.npz: 260 arrays, and which variant of the network they fit.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.data.fetching import RAW_FOLDER
from stages.data.files import write_arrays
from stages.models.pretrained_weights import obtain_mobilenet

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

OUTPUT = Path("data/mobilenet_v2.npz")


def main(params: "Params", _report: "EpochReport") -> None:
    """Obtain, write."""
    sources = params.sources
    variant, arrays = obtain_mobilenet(sources.mobilenet, sources.mobilenet_sha256, RAW_FOLDER)
    write_arrays(OUTPUT, {"variant": np.array(variant), **arrays})
