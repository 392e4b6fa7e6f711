"""Fetch CIFAR-10 from the first source that answers, check it, and store it as arrays.

Reads `sources.cifar10` and `data.source` of params.yaml; a good file in data/raw/ needs no network.
Writes data/cifar10.npz: train_images, train_labels, test_images, test_labels; or without any array
if photos of one's own are used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.cifar10 import verify_content
from stages.data.cifar10_sources import obtain_cifar10
from stages.data.fetching import RAW_FOLDER
from stages.data.files import write_arrays

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

OUTPUT = Path("data/cifar10.npz")


def main(params: "Params", _report: "EpochReport") -> None:
    """Obtain, verify, write."""
    if params.data.source != "cifar10":
        write_arrays(OUTPUT, {})
        return
    data = obtain_cifar10(params.sources.cifar10, RAW_FOLDER)
    verify_content(data)
    write_arrays(OUTPUT, vars(data))
