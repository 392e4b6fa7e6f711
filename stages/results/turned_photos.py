"""The photos whose prediction turned, as a picture, where they are on this machine."""

import itertools
from pathlib import Path

import numpy as np

from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.results.comparison import Comparison
from stages.results.reading import TEST_IMAGES

ALL_IMAGES = "data/cifar10.npz"
SHOWN = 16  # of each model and direction


def draw_turned(comparison: Comparison, path: Path) -> str:
    """Write the picture if there are photos.

    Returns:
        What was done, or why nothing was, in a line.

    Raises:
        UserError: the file cannot be written.
    """
    if comparison.unpaired:
        return f"{path}: not written, as the sides are not compared image by image"
    photos = _photos({flip.index for flip in comparison.flips})
    if photos is None:
        where = f"{TEST_IMAGES} or {ALL_IMAGES}"
        return f"{path}: not written, as no photos are here ({where}; `dvc pull` brings them)"
    from stages.figures.photos import captioned_grid  # matplotlib takes a second
    from stages.figures.style import save_figure

    flips = sorted(comparison.flips, key=lambda flip: flip.to_right)  # those turned wrong first
    groups = itertools.groupby(flips, key=lambda flip: (flip.to_right, flip.model))
    shown = [flip for _, group in groups for flip in itertools.islice(group, SHOWN)]
    captions = [
        f"{flip.model}: {'right' if flip.to_right else 'wrong'}\n{flip.base} → {flip.head}\n"
        f"image {flip.index}"
        for flip in shown
    ]
    of = f"{len(shown)} of {len(flips)}" if len(shown) < len(flips) else "all"
    sides = f"{comparison.base.revision.name} → {comparison.head.revision.name}"
    title = f"Test images whose prediction turned right or wrong, {sides} ({of})"
    save_figure(path, captioned_grid([photos[flip.index] for flip in shown], captions, title))
    return f"{path}: {len(shown)} images whose prediction turned"


def _photos(indices: set[int | str]) -> dict[int | str, np.ndarray] | None:
    """Photos by their index (see `Split.indices`); None if any is not on this machine."""
    for path, images, numbers in (
        (TEST_IMAGES, "images", "indices"),
        (ALL_IMAGES, "test_images", None),
    ):
        try:
            arrays = read_arrays(Path(path))
            position = arrays[numbers].tolist() if numbers else range(len(arrays[images]))
            found = dict(zip(position, arrays[images], strict=True))
        except (UserError, KeyError, ValueError):
            continue
        if indices <= found.keys():
            return found
    return None
