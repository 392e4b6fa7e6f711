"""CIFAR-10: 60,000 photos of 32x32 pixels in ten classes, whichever source they come from.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.data.errors import UserError

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIDE = 32  # pixels

# Of the content, in the layout of the author's "binary version" (see `binary_layout`).
BATCH_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}


@dataclass(frozen=True, eq=False)
class Cifar10:
    """The whole data set.

    Attributes:
        train_images: uint8 [50000, 32, 32, 3], row-major RGB, in the order of the five batches.
        train_labels: uint8 [50000], indices into `CLASS_NAMES`.
        test_images: uint8 [10000, 32, 32, 3].
        test_labels: uint8 [10000].
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def verify_content(data: Cifar10, expected: Mapping[str, str] = BATCH_SHA256) -> None:
    """Compare each batch, the last of which is the test images, with its pinned sha256.

    Raises:
        UserError: naming the first batch that differs.
    """
    parts = len(expected) - 1
    images = [*np.array_split(data.train_images, parts), data.test_images]
    labels = [*np.array_split(data.train_labels, parts), data.test_labels]
    for name, batch_images, batch_labels in zip(expected, images, labels, strict=True):
        found = hashlib.sha256(binary_layout(batch_images, batch_labels)).hexdigest()
        if found != expected[name]:
            raise UserError(
                f"CIFAR-10: {name} is not the published one (sha256 {found}, expected "
                f"{expected[name]}); delete data/raw and run again"
            )


def binary_layout(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Lay out a batch as the author's binary version: a label byte, then the planes R, G, B."""
    planes = images.transpose(0, 3, 1, 2).reshape(-1, 3 * SIDE * SIDE)
    return np.concatenate([labels[:, np.newaxis], planes], axis=1).tobytes()
