"""Splits: which images are for learning, for choosing and for the final measure."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.data.files import read_arrays, write_arrays

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images and what they show.

    Attributes:
        images: uint8 [n, 32, 32, 3], RGB.
        labels: int64 [n], an index into the chosen classes.
        indices: int64 [n], position in CIFAR-10's training (train, validation) or test images.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def split_path(name: str) -> Path:
    """Where `prepare` puts a split."""
    return Path("data/prepared") / f"{name}.npz"


def write_split(name: str, split: Split) -> None:
    """Write a split to its file."""
    write_arrays(split_path(name), vars(split))


def read_split(name: str) -> Split:
    """Read a split; `test` is for the stages that measure and draw.

    Raises:
        UserError: the file is missing or damaged.
    """
    return Split(**read_arrays(split_path(name)))
