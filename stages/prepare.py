"""Choose the images, cut the splits, check the data's promises.

Reads the section `data` of params.yaml, and data/cifar10.npz or a folder of photos.
Writes data/prepared/{train,validation,test}.npz and metrics/prepare.json: how many images of each
class, how many nearly the same as a training image, and what was found in a folder.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.cifar10 import Cifar10
from stages.data.files import read_arrays, write_json
from stages.data.folder import read_folder
from stages.data.grouping import groups_of
from stages.data.near_duplicates import can_be_compared, near_duplicates
from stages.data.preparation import check_promises, chosen_images, make_splits
from stages.data.splits import Split, write_split

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import DataParams, Params

CIFAR10 = Path("data/cifar10.npz")
METRICS = Path("metrics/prepare.json")


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, split, check, write."""
    data = params.data
    images, is_test, found = read_images(data)
    groups = groups_of(images, data.group_pattern, near_duplicates=data.group_near_duplicates)
    splits = make_splits(images, is_test, groups, data)
    check_promises(splits)
    if left_out := len(images) - sum(map(len, splits.values())):
        print(
            f"WARNING: {left_out:,} training images are left out: they are equal to test images or "
            "of their group (data.group_pattern, data.group_near_duplicates)",
            file=sys.stderr,
        )
    for name, split in splits.items():
        write_split(name, split)
    write_json(METRICS, {**measure(splits), **found})


def read_images(
    data: "DataParams",
) -> tuple[Split, np.ndarray | None, dict[str, dict[str, int]]]:
    """All images, which of them are test images, and what was counted in a folder."""
    choice = data.limit_per_class, data.seed
    if data.source == "cifar10":
        cifar10 = Cifar10(**read_arrays(CIFAR10))
        return *chosen_images(cifar10, data.classes, *choice), {}
    photos = read_folder(Path(data.folder), data.classes, data.photo_size, *choice)
    for warning in photos.warnings:
        print(f"WARNING: {data.folder}: {warning}", file=sys.stderr)
    return photos.images, photos.is_test, {"folder": photos.counts}


def measure(splits: dict[str, Split]) -> dict[str, dict[str, Any]]:
    """Images of each class in each split, and how many nearly repeat a training image.

    The latter is left out where there are too many images to look for it.
    """
    training = splits["train"].images
    report = {}
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(split.classes)).tolist()
        report[name] = {"images": len(split), **dict(zip(split.classes, counts, strict=True))}
        if name != "train" and can_be_compared(len(split), len(training)):
            near = int(near_duplicates(split.images, training).sum())
            report[name]["near_duplicates_of_train"] = near
    return report
