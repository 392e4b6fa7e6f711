"""Splits: which images are for learning, for choosing and for the final measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stages.data.files import read_arrays, write_arrays
from stages.data.room import room

CHUNK = 1000  # images copied at once
SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images and what they show.

    Attributes:
        images: uint8 [n, side, side, 3], RGB.
        labels: int64 [n], an index into `classes`.
        indices: which images they are: int64 [n], the position in CIFAR-10's training (train,
            validation) or test images, or str [n], the path in the folder of photos.
        classes: their names.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def photo_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[1])

    def take(self, positions: np.ndarray) -> "Split":
        """The images at some positions, in this order."""
        images = room((len(positions), *self.images.shape[1:]), np.uint8)
        for start in range(0, len(positions), CHUNK):
            part = slice(start, start + CHUNK)
            images[part] = self.images[positions[part]]
        return Split(images, self.labels[positions], self.indices[positions], self.classes)


def split_path(name: str) -> Path:
    """Where `prepare` puts a split."""
    return Path("data/prepared") / f"{name}.npz"


def write_split(name: str, split: Split) -> None:
    """Write a split to its file."""
    write_arrays(split_path(name), vars(split) | {"classes": np.array(split.classes)})


def read_split(name: str) -> Split:
    """Read a split; `test` is for the stages that measure and draw.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays = read_arrays(split_path(name))
    return Split(**arrays | {"classes": arrays["classes"].tolist()})


def limited(labels: np.ndarray, n_classes: int, limit: int | None, seed: int) -> np.ndarray:
    """Positions of at most so many images of each class, int64 [n], rising; -1 is no class."""
    generator = np.random.default_rng(seed)
    positions = [
        generator.permutation(np.flatnonzero(labels == each))[:limit] for each in range(n_classes)
    ]
    return np.sort(np.concatenate(positions))


def class_weights(training: Split, rule: Literal["none", "balanced"]) -> np.ndarray | None:
    """How much an image of each class counts in training.

    Args:
        training: its labels say how many images a class has.
        rule: `balanced`: all classes count as much as each other; `none`: all images.

    Returns:
        float64 [classes], 1 on average over the images; None if all are 1.
    """
    if rule == "none":
        return None
    counts = np.bincount(training.labels, minlength=len(training.classes))
    weights: np.ndarray = len(training) / (len(counts) * counts)
    return weights
