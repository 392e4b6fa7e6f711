"""Pictures made of photos: with captions, or with maps of what speaks for a class laid over."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from scipy.ndimage import zoom

from stages.figures.style import (
    COLORS,
    DOTS_PER_INCH,
    MARGIN,
    PALE_INK,
    broken_lines,
    new_figure,
    styled,
    title_lines,
)

PHOTO = 0.96  # inches; at 100 dots each pixel of a 32-pixel photo becomes three
GAP = 0.16  # inches between photos; captions are somewhat wider than their photo
LINE = 0.14  # inches a line of a caption takes
CAPTION_POINTS = 8.5
LETTERS_AN_INCH = 19
PAIRS_IN_A_ROW = 4
LEAST_WIDTH = 4.0  # inches; a title needs it


BLUE, ORANGE = to_rgb(COLORS[0]), to_rgb(COLORS[1])
# Blue below 0, nothing at 0, orange above: the stronger, the less of the photo shows.
EVIDENCE = LinearSegmentedColormap.from_list(
    "evidence", [(0, (*BLUE, 0.9)), (0.5, (*BLUE, 0)), (0.5, (*ORANGE, 0)), (1, (*ORANGE, 0.9))]
)


@styled
def captioned_grid(
    images: Iterable[np.ndarray], captions: Sequence[str], title: str, columns: int = 8
) -> Figure:
    """Photos in rows, each with its caption below.

    Args:
        images: n photos, uint8 [height, width, 3]; n may be 0.
        captions: n of one or two lines of up to 16 characters; longer ones are broken.
        title: of the whole.
        columns: photos in a row.
    """
    figure, axis, places = _grid(captions, title, columns, PHOTO)
    for image, place in zip(images, places, strict=True):
        show(axis, image, place)
    return figure


@styled
def evidence_grid(
    images: np.ndarray,
    maps: np.ndarray,
    captions: Sequence[str],
    title: str,
    names: tuple[str, str],
) -> Figure:
    """Photos, and beside each its gray copy with the evidence for a class laid over it.

    All maps share one scale. Lines surround what is half its end or more: solid for the first
    name, dashed for the second.

    Args:
        images: uint8 [n, height, width, 3]; n may be 0.
        maps: float [n, rows, columns] in logits, enlarged bicubically to the photo; above 0 speaks
            for the first name, below 0 for the second.
        captions: n of one or two lines of up to 32 characters; longer ones are broken.
        title: of the whole.
        names: what evidence above and below 0 speaks for.
    """
    beside = PHOTO + 0.03
    figure, axis, places = _grid(captions, title, PAIRS_IN_A_ROW, beside + PHOTO, below=0.62)
    limit = float(np.abs(maps).max(initial=0.0)) or 1.0
    for image, evidence, (left, top) in zip(images, maps, places, strict=True):
        show(axis, image, (left, top))
        show(axis, image.mean(axis=2), (left + beside, top), cmap="gray", vmin=0, vmax=255)
        overlay(axis, evidence, (left + beside, top), limit)
    _color_bar(figure, limit, names)
    return figure


def _grid(
    captions: Sequence[str], title: str, columns: int, width: float, *, below: float = 0.0
) -> tuple[Figure, Axes, list[tuple[float, float]]]:
    """A figure with the captions, and where its pictures go.

    Args:
        captions: of the pictures.
        title: of the whole.
        columns: pictures in a row.
        width: of a picture in inches.
        below: inches left free at the bottom.

    Returns:
        The figure; its only axis, in inches from the top left; left and top of each picture.
    """
    letters = int(width * LETTERS_AN_INCH)
    captions = [
        "\n".join(part for line in caption.split("\n") for part in broken_lines(line, letters))
        for caption in captions
    ]
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    row_height = PHOTO + lines * LINE + 0.16
    rows_height = -(-len(captions) // columns) * row_height or 0.4
    figure, axis = _canvas(title, columns * (width + GAP) - GAP + 2 * MARGIN, rows_height + below)
    places = [
        (MARGIN + column * (width + GAP), row * row_height)
        for row, column in (divmod(number, columns) for number in range(len(captions)))
    ]
    texts = [
        axis.text(left + width / 2, top + PHOTO + 0.04, caption, ha="center", va="top")
        for caption, (left, top) in zip(captions, places, strict=True)
    ]
    for text in texts:
        text.set(fontsize=CAPTION_POINTS, linespacing=1.15)
    if texts:  # all in one size in which the widest is not much wider than its picture
        widest = max(text.get_window_extent().width for text in texts) / DOTS_PER_INCH
        shrunk = min(1.0, (width + 0.6 * GAP) / widest)
        for text in texts:
            text.set_fontsize(CAPTION_POINTS * shrunk)
    else:
        axis.text(MARGIN, 0.15, "none", fontsize=11, color=PALE_INK)
    return figure, axis, places


def _canvas(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """A figure and its only axis, in inches from the left and downwards from below the title."""
    width = max(width, LEAST_WIDTH)
    head = 0.22 + 0.2 * len(title_lines(title, width))
    figure = new_figure(title, width, head + height, arranged=False)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, -head))
    axis.set_axis_off()
    return figure, axis


def show(
    axis: Axes, image: np.ndarray, place: tuple[float, float], side: float = PHOTO, **colors: Any
) -> None:
    """Draw an image as a square of so many inches; `place` is its left and top."""
    left, top = place
    extent = (left, left + side, top + side, top)
    axis.imshow(image, interpolation="nearest", extent=extent, aspect="auto", **colors)


def overlay(axis: Axes, evidence: np.ndarray, place: tuple[float, float], limit: float) -> None:
    """The evidence, enlarged, and lines around what is half the limit or more."""
    dots = round(PHOTO * DOTS_PER_INCH)
    factors = [dots / size for size in evidence.shape]
    smooth = zoom(evidence.astype(float), factors, order=3, mode="nearest", grid_mode=True)
    show(axis, smooth, place, cmap=EVIDENCE, norm=CenteredNorm(halfrange=limit))
    middles = (np.arange(dots) + 0.5) * PHOTO / dots
    for level, dashes in ((limit / 2, "solid"), (-limit / 2, "dashed")):
        if smooth.min() < level < smooth.max():
            axis.contour(
                place[0] + middles,
                place[1] + middles,
                smooth,
                levels=[level],
                colors="black",
                linewidths=0.9,
                linestyles=dashes,
            )


def _color_bar(figure: Figure, limit: float, names: tuple[str, str]) -> None:
    height = figure.get_figheight()
    bar = figure.add_axes((0.32, 0.3 / height, 0.36, 0.14 / height))
    shades = ScalarMappable(CenteredNorm(halfrange=limit), EVIDENCE)
    figure.colorbar(shades, cax=bar, orientation="horizontal", ticks=[-limit, 0, limit])
    bar.set_xticklabels([f"−{limit:.2g}", "0 logits", f"+{limit:.2g}"])
    for place, alignment, name in ((1.04, "left", names[0]), (-0.04, "right", names[1])):
        told = f"evidence for {name}"
        bar.text(place, 0.5, told, transform=bar.transAxes, ha=alignment, va="center")


@styled
def image_grid(
    rows: Sequence[np.ndarray], labels: Sequence[str], title: str, *, side: float = PHOTO
) -> Figure:
    """Pictures in rows, each row with its label.

    Args:
        rows: for each row its pictures: uint8 or float in [0, 1] [n, height, width, 3], or float
            [n, height, width], drawn in gray from its lowest value to its highest.
        labels: of the rows; empty for none.
        title: of the whole.
        side: of a picture in inches.
    """
    beside = 1.1 if any(labels) else MARGIN
    cell = side + 0.06
    width = beside + max(len(row) for row in rows) * cell + MARGIN
    figure, axis = _canvas(title, width, len(rows) * cell + 0.02)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = number * cell
        axis.text(beside - 0.1, top + side / 2, label, ha="right", va="center")
        for column, picture in enumerate(row):
            show(axis, picture, (beside + column * cell, top), side, cmap="gray")
    return figure
