"""The images whose answer turned, as a picture, where the photos are on this machine."""

from pathlib import Path

import numpy as np

from stages.comparison.findings import Findings
from stages.comparison.judgements import Flip
from stages.data.errors import UserError
from stages.data.files import read_arrays

SPLIT = Path("data/prepared/test.npz")
ALL_IMAGES = Path("data/cifar10.npz")
SHOWN = 16  # of each model and direction


def draw_flips(findings: Findings, path: Path) -> str:
    """Write the picture if there are photos.

    Returns:
        What was done, or why nothing was, in a line.

    Raises:
        UserError: the file cannot be written.
    """
    if findings.unpaired:
        return f"{path}: not written, as the sides are not compared image by image"
    photos = _photos({flip.index for flip in findings.flips})
    if photos is None:
        where = f"{SPLIT} or {ALL_IMAGES}"
        return f"{path}: not written, as no photos are here ({where}; `dvc pull` brings them)"
    from stages.figures.drawing import save_figure  # matplotlib takes a second
    from stages.figures.photos import captioned_grid

    shown = _first_of_each(findings.flips)
    captions = [
        f"{flip.model}: {'right' if flip.to_right else 'wrong'}\n{flip.base} → {flip.head}\n"
        f"image {flip.index}"
        for flip in shown
    ]
    images = np.stack([photos[flip.index] for flip in shown]) if shown else np.empty((0, 32, 32, 3))
    of = f"{len(shown)} of {len(findings.flips)}" if len(shown) < len(findings.flips) else "all"
    sides = f"{findings.base.endpoint.name} → {findings.head.endpoint.name}"
    title = f"Test images whose answer turned right or wrong, {sides} ({of})"
    save_figure(path, captioned_grid(images.astype(np.uint8), captions, title))
    return f"{path}: {len(shown)} images whose answer turned"


def _first_of_each(flips: list[Flip]) -> list[Flip]:
    """The first images of each model, those that turned wrong first."""
    groups: dict[tuple[str, bool], list[Flip]] = {}
    for flip in flips:
        groups.setdefault((flip.model, flip.to_right), []).append(flip)
    in_order = sorted(groups, key=lambda group: group[1])
    return [flip for group in in_order for flip in groups[group][:SHOWN]]


def _photos(indices: set[int]) -> dict[int, np.ndarray] | None:
    """Photos by number among CIFAR-10's test images; None if any is not on this machine."""
    for path, images, numbers in (
        (SPLIT, "images", "indices"),
        (ALL_IMAGES, "test_images", None),
    ):
        try:
            arrays = read_arrays(path)
            found = dict(
                zip(
                    arrays[numbers].tolist() if numbers else range(len(arrays[images])),
                    arrays[images],
                    strict=True,
                )
            )
        except (UserError, KeyError, ValueError):
            continue
        if indices <= found.keys():
            return found
    return None
