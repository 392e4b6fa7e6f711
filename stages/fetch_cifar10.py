"""Fetch CIFAR-10 from the first source that answers, check it, and store it as arrays.

Reads `data.sources` of params.yaml; a good file in data/raw/ needs no network.
Writes data/cifar10.npz: train_images, train_labels, test_images, test_labels.
"""

from pathlib import Path

from stages.data.cifar10 import verify_content
from stages.data.cifar10_sources import obtain_cifar10
from stages.data.fetching import RAW_FOLDER
from stages.data.files import write_arrays
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

OUTPUT = Path("data/cifar10.npz")


def main() -> None:
    """Obtain, verify, write."""
    params = read_params().data
    with track_stage("fetch_cifar10"):
        data = obtain_cifar10(params.sources, RAW_FOLDER)
        verify_content(data)
        write_arrays(OUTPUT, vars(data))


if __name__ == "__main__":
    run_stage(main)
