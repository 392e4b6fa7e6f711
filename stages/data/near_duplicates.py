"""Photos that are there twice, or nearly: the same car a moment later, the same picture cut anew.

A model that has learned one of two knows the answer to the other, so that a test with such images
is a little too easy (B. Barz and J. Denzler, "Do We Train on Test Data? Purging CIFAR of
Near-Duplicates", 2020).
"""

from collections.abc import Iterator

import numpy as np

from stages.data.resizing import resized

# Cosine similarity of two pictures, each less its mean, above which they are the same photo. Looked
# at for cars and trucks: above 0.95 all pairs are, from 0.93 to 0.95 most, below 0.92 few.
NEAR_DUPLICATE_SIMILARITY = 0.95
COMPARED_SIDE = 16  # pixels; halving the pictures first makes the comparison four times as fast
CHUNK, OTHERS = 1000, 10_000  # images compared at once, and with how many
MOST_PAIRS = 50_000**2  # a minute of two cores


def can_be_compared(n: int, others: int) -> bool:
    """Whether so many images and others are few enough to compare each with each in a minute."""
    return n * others <= MOST_PAIRS


def near_duplicates(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each image is nearly the same as one of the others or its mirror image.

    Args:
        images: uint8 [n, side, side, 3].
        others: uint8 [m, side, side, 3].

    Returns:
        bool [n].
    """
    near = np.zeros(len(images), bool)
    for start, _, similar in _compared(images, others):
        near[start : start + len(similar)] |= similar.any(axis=1)
    return near


def near_duplicate_pairs(images: np.ndarray) -> np.ndarray:
    """Pairs of images of which one is nearly the same as the other or its mirror image.

    Args:
        images: uint8 [n, side, side, 3].

    Returns:
        int [m, 2], positions; of each pair the lower first.
    """
    pairs = [
        np.argwhere(similar) + np.array([start, other])
        for start, other, similar in _compared(images, images)
    ]
    found = np.concatenate(pairs)
    return found[found[:, 0] < found[:, 1]]


def _compared(images: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Some images and some others at a time: from which on, and whether each two are similar."""
    compared = _normalized(images)
    for other in range(0, len(others), OTHERS):
        some = others[other : other + OTHERS]
        candidates = _normalized(some)
        pictures = candidates.reshape(-1, COMPARED_SIDE, COMPARED_SIDE, 3)
        mirrored = pictures[:, :, ::-1].reshape(candidates.shape)
        for start in range(0, len(images), CHUNK):
            chunk = compared[start : start + CHUNK]
            similarity = np.maximum(chunk @ candidates.T, chunk @ mirrored.T)
            yield start, other, similarity > NEAR_DUPLICATE_SIMILARITY


def _normalized(images: np.ndarray) -> np.ndarray:
    """Pictures as vectors of mean 0 and length 1, float32 [n, 768]."""
    n = len(images)
    blocks = resized(images, 2 * COMPARED_SIDE).reshape(n, COMPARED_SIDE, 2, COMPARED_SIDE, 2, 3)
    vectors = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    normalized: np.ndarray = vectors / np.maximum(
        np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6
    )
    return normalized
