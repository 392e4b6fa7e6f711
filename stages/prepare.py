"""Pick the classes, cut the validation split from the training images, check the data's promises.

Reads the section `data` of params.yaml and data/cifar10.npz.
Writes data/prepared/{train,validation,test}.npz, metrics/prepare.json (how many images of each
class, how many nearly the same as a training image) and a picture of sample images.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stages.data.cifar10 import Cifar10
from stages.data.files import read_arrays, write_json
from stages.data.near_duplicates import near_duplicates
from stages.data.preparation import check_promises, make_splits
from stages.data.splits import Split, write_split
from stages.figures.drawing import image_grid, save_figure
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

INPUT = Path("data/cifar10.npz")
METRICS = Path("metrics/prepare.json")
SAMPLES = Path("metrics/figures/samples.png")
SAMPLES_PER_CLASS = 10


def main() -> None:
    """Read, split, check, write."""
    params = read_params().data
    classes: list[str] = [*params.classes]
    with track_stage("prepare"):
        cifar10 = Cifar10(**read_arrays(INPUT))
        splits = make_splits(
            cifar10,
            classes,
            params.validation_fraction,
            params.limit_per_class,
            params.seed,
        )
        check_promises(splits, classes)
        for name, split in splits.items():
            write_split(name, split)
        write_json(METRICS, measure(splits, classes))
        save_figure(SAMPLES, draw_samples(splits["train"], classes))


def measure(splits: dict[str, Split], classes: list[str]) -> dict[str, dict[str, int]]:
    """Images of each class in each split, and how many nearly repeat a training image."""
    training = splits["train"].images
    report = {}
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(classes)).tolist()
        report[name] = {"images": len(split), **dict(zip(classes, counts, strict=True))}
        if name != "train":
            near = int(near_duplicates(split.images, training).sum())
            report[name]["near_duplicates_of_train"] = near
    return report


def draw_samples(split: Split, classes: list[str]) -> Figure:
    """The first images of each class, a row a class."""
    rows = [
        split.images[split.labels == label][:SAMPLES_PER_CLASS] for label in range(len(classes))
    ]
    return image_grid(rows, classes, "Training images, 32×32 pixels")


if __name__ == "__main__":
    run_stage(main)
