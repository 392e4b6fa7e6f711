"""Which images belong together, so that no split has one of them and another split the next.

Ten frames of one car are not ten cars: a model that has learned nine knows the tenth.
"""

import hashlib
import math
import re

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.data.errors import UserError
from stages.data.near_duplicates import MOST_PAIRS, can_be_compared, near_duplicate_pairs
from stages.data.splits import Split


def groups_of(
    images: Split, equal: np.ndarray, pattern: str | None, *, near_duplicates: bool
) -> np.ndarray:
    """The group of each image: those that belong together, by any of the rules.

    Args:
        images: all that are to be split.
        equal: as `equal_images` gives it; these always belong together.
        pattern: a regular expression; where it finds the same text (in its parentheses, if it has
            them) in `indices`, images belong together. Where it finds nothing, an image is alone.
        near_duplicates: whether nearly equal images belong together.

    Returns:
        int [n], from 0.

    Raises:
        UserError: the pattern finds nothing in any, or there are too many images to look for
            near-duplicates.
    """
    same = [equal]
    if pattern:
        found = [re.search(pattern, str(index)) for index in images.indices]
        if not any(found):
            raise UserError(
                f"params.yaml: data.group_pattern: {pattern!r} finds nothing in {len(found):,} "
                f"paths, as {images.indices[0]}; mend it, or set it to null"
            )
        texts = [each and (each[1] if each.re.groups else each[0]) for each in found]
        same.append(_first_with_same(texts))
    pairs = [np.stack([np.arange(len(images)), first], axis=1) for first in same]
    if near_duplicates:
        if not can_be_compared(len(images), len(images)):
            raise UserError(
                f"params.yaml: data.group_near_duplicates: {len(images):,} images are too many to "
                f"compare each with each; allowed: {math.isqrt(MOST_PAIRS):,}; set it to false"
            )
        pairs.append(near_duplicate_pairs(images.images))
    rows, columns = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=2 * (len(images),))
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups


def equal_images(images: np.ndarray) -> np.ndarray:
    """For each image the position of the first that is equal to it, int [n]."""
    return _first_with_same(digests(images))


def digests(images: np.ndarray) -> list[bytes]:
    """The sha256 of each image."""
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def _first_with_same(keys: list[bytes] | list[str | None]) -> np.ndarray:
    """For each key the position of the first that is the same; None is like no other."""
    first: dict[bytes | str, int] = {}
    return np.array(
        [
            position if key is None else first.setdefault(key, position)
            for position, key in enumerate(keys)
        ]
    )
