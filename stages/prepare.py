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
from stages.data.folder import equal_photos, read_folder
from stages.data.grouping import equal_images, groups_of
from stages.data.near_duplicates import can_be_compared, near_duplicates
from stages.data.preparation import (
    check_promises,
    chosen_images,
    make_splits,
    uneven_shares,
)
from stages.data.splits import Split, write_split

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import DataParams, Params

CIFAR10 = Path("data/cifar10.npz")
METRICS = Path("metrics/prepare.json")
NEAR_DUPLICATES = "near_duplicates_of_train"


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, split, check, write."""
    data = params.data
    images, is_test, equal, found = read_images(data)
    groups = groups_of(
        images, equal, data.group_pattern, near_duplicates=data.group_near_duplicates
    )
    splits = make_splits(images, is_test, groups, data)
    check_promises(splits)
    measured = measure(splits)
    if left_out := len(images) - sum(map(len, splits.values())):
        warn(
            f"{left_out:,} training images are left out: they are equal to test images or of "
            "their group (data.group_pattern, data.group_near_duplicates)"
        )
    warn(*uneven_shares(splits, data, is_cut=is_test is None))
    if found:  # what can be done about it in a folder, cannot in CIFAR-10
        warn(*nearly_equal(measured))
    for name, split in splits.items():
        write_split(name, split)
    write_json(METRICS, {**measured, **found})


def read_images(
    data: "DataParams",
) -> tuple[Split, np.ndarray | None, np.ndarray, dict[str, dict[str, int]]]:
    """All images, which are test images, which are equal, and what was counted in a folder."""
    choice = data.limit_per_class, data.seed
    if data.source == "cifar10":
        cifar10 = Cifar10(**read_arrays(CIFAR10))
        images, is_test = chosen_images(cifar10, data.classes, *choice)
        return images, is_test, equal_images(images.images), {}
    photos = read_folder(Path(data.folder), data.classes, data.photo_size, *choice)
    equal = equal_images(photos.images.images)
    told, counts = equal_photos(photos.images, equal)
    warn(*(f"{data.folder}: {each}" for each in (*photos.warnings, *told)))
    return photos.images, photos.is_test, equal, {"folder": photos.counts | counts}


def warn(*sentences: str) -> None:
    """Print what does not stop the pipeline, and yet is worth a look."""
    for each in sentences:
        print(f"WARNING: {each}", file=sys.stderr)


def nearly_equal(measured: dict[str, dict[str, Any]]) -> list[str]:
    """In which splits images nearly repeat a training image, a sentence each."""
    return [
        f"{near:,} of {counts['images']:,} {name} images are nearly equal to a training image; "
        "data.group_near_duplicates: true keeps such on one side"
        for name, counts in measured.items()
        if (near := counts.get(NEAR_DUPLICATES))
    ]


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
            report[name][NEAR_DUPLICATES] = near
    return report
