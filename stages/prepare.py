"""Pick the classes, cut the validation split from the training images, check the data's promises.

Reads the section `data` of params.yaml and data/cifar10.npz.
Writes data/prepared/{train,validation,test}.npz and metrics/prepare.json: how many images of each
class, how many nearly the same as a training image.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.data.cifar10 import Cifar10
from stages.data.files import read_arrays, write_json
from stages.data.near_duplicates import near_duplicates
from stages.data.preparation import check_promises, make_splits
from stages.data.splits import Split, write_split

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

INPUT = Path("data/cifar10.npz")
METRICS = Path("metrics/prepare.json")


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, split, check, write."""
    data = params.data
    classes: list[str] = [*data.classes]
    cifar10 = Cifar10(**read_arrays(INPUT))
    splits = make_splits(
        cifar10, classes, data.validation_fraction, data.limit_per_class, data.seed
    )
    check_promises(splits, classes)
    for name, split in splits.items():
        write_split(name, split)
    write_json(METRICS, measure(splits, classes))


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
