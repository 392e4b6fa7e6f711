"""Pictures made of photos: with captions, or with maps of what speaks for a class laid over."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
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


def _evidence_colors() -> ListedColormap:
    """Blue below 0, nothing at 0, orange above: the stronger, the less of the photo shows."""
    steps = np.linspace(-1, 1, 256)
    colors = np.where(steps[:, None] < 0, to_rgb(COLORS[0]), to_rgb(COLORS[1]))
    return ListedColormap(np.column_stack([colors, np.abs(steps) ** 0.7 * 0.9]))


EVIDENCE = _evidence_colors()


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
    for image, (left, top) in zip(images, places, strict=True):
        _photo(axis, image, left, top)
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
    figure, axis, places = _grid(captions, title, PAIRS_IN_A_ROW, 2 * PHOTO + 0.03, below=0.62)
    limit = float(np.abs(maps).max(initial=0.0)) or 1.0
    for image, evidence, (left, top) in zip(images, maps, places, strict=True):
        _photo(axis, image, left, top)
        _overlay(axis, image, evidence, left + PHOTO + 0.03, top, limit)
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
    rows = -(-len(captions) // columns)
    captions = [_broken(caption, int(width * LETTERS_AN_INCH)) for caption in captions]
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    row_height = PHOTO + lines * LINE + 0.16
    figure_width = max(columns * (width + GAP) - GAP + 2 * MARGIN, LEAST_WIDTH)
    head = 0.22 + 0.2 * len(title_lines(title, figure_width))
    height = head + below + (rows * row_height if captions else 0.4)
    figure = new_figure(title, figure_width, height, arranged=False)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, figure_width), ylim=(height, 0))
    axis.set_axis_off()
    places = [
        (MARGIN + column * (width + GAP), head + row * row_height)
        for row, column in (divmod(number, columns) for number in range(len(captions)))
    ]
    texts = [
        axis.text(left + width / 2, top + PHOTO + 0.04, caption, ha="center", va="top")
        for caption, (left, top) in zip(captions, places, strict=True)
    ]
    _fit(texts, width + 0.6 * GAP)
    if not captions:
        axis.text(MARGIN, head + 0.15, "none", fontsize=11, color=PALE_INK)
    return figure, axis, places


def _broken(caption: str, letters: int) -> str:
    return "\n".join(part for line in caption.split("\n") for part in broken_lines(line, letters))


def _fit(texts: Sequence[Text], width: float) -> None:
    """Set captions in one size in which the widest is no wider than so many inches."""
    for text in texts:
        text.set(fontsize=CAPTION_POINTS, linespacing=1.15)
    widest = max((text.get_window_extent().width for text in texts), default=0.0)
    shrunk = min(1.0, width * DOTS_PER_INCH / max(widest, 1.0))
    for text in texts:
        text.set_fontsize(CAPTION_POINTS * shrunk)


def _photo(axis: Axes, image: np.ndarray, left: float, top: float) -> None:
    extent = (left, left + PHOTO, top + PHOTO, top)
    axis.imshow(image, cmap="gray", interpolation="nearest", extent=extent, aspect="auto")


def _overlay(
    axis: Axes, image: np.ndarray, evidence: np.ndarray, left: float, top: float, limit: float
) -> None:
    """The gray photo, the evidence over it, and lines around what is half the limit or more."""
    gray = image.mean(axis=2) / 255
    axis.imshow(
        gray,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(left, left + PHOTO, top + PHOTO, top),
        aspect="auto",
    )
    dots = round(PHOTO * DOTS_PER_INCH)
    factors = [dots / size for size in evidence.shape]
    smooth = zoom(evidence.astype(float), factors, order=3, mode="nearest", grid_mode=True)
    axis.imshow(
        smooth,
        cmap=EVIDENCE,
        norm=CenteredNorm(halfrange=limit),
        interpolation="nearest",
        extent=(left, left + PHOTO, top + PHOTO, top),
        aspect="auto",
    )
    middles = (np.arange(dots) + 0.5) * PHOTO / dots
    for level, dashes in ((limit / 2, "solid"), (-limit / 2, "dashed")):
        if smooth.min() < level < smooth.max():
            axis.contour(
                left + middles,
                top + middles,
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
        bar.text(
            place,
            0.5,
            f"evidence for {name}",
            transform=bar.transAxes,
            ha=alignment,
            va="center",
        )


@styled
def image_grid(
    rows: Sequence[np.ndarray], labels: Sequence[str], title: str, *, cell: float = 0.9
) -> Figure:
    """Pictures in rows, each row with its label.

    Args:
        rows: for each row its pictures: uint8 or float in [0, 1] [n, height, width, 3], or float
            [n, height, width], drawn in gray from its lowest value to its highest.
        labels: of the rows; empty for none.
        title: of the whole.
        cell: side of a picture in inches.
    """
    columns = max(len(row) for row in rows)
    beside = 1.1 if any(labels) else MARGIN
    width = max(beside + columns * cell, LEAST_WIDTH)
    head = 0.22 + 0.2 * len(title_lines(title, width))
    height = head + len(rows) * cell
    figure = new_figure(title, width, height, arranged=False)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, label, row_axes in zip(rows, labels, axes, strict=True):
        for picture, axis in zip(row, row_axes, strict=False):
            axis.imshow(picture, cmap="gray", interpolation="nearest")
        row_axes[0].text(-0.1, 0.5, label, transform=row_axes[0].transAxes, ha="right", va="center")
    right, top = (beside + columns * cell) / width, 1 - head / height
    figure.subplots_adjust(beside / width, 0.005, right, top, wspace=0.06, hspace=0.06)
    return figure


def to_unit_range(values: np.ndarray) -> np.ndarray:
    """Values stretched linearly to [0, 1], each picture [height, width, channels] for itself."""
    axes = tuple(range(1, values.ndim))
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    stretched: np.ndarray = (values - low) / np.maximum(high - low, 1e-12)
    return stretched
