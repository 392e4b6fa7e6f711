"""How pictures are drawn and saved: one look, and the same bytes from the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into memory; needs no screen
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from stages.data.files import replacing

DOTS_PER_INCH = 100


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, without date or version of the software in it."""
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)


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
    margin = 1.1 if any(labels) else 0.1
    size = (max(margin + columns * cell, 3.0), 0.5 + len(rows) * cell)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, label, row_axes in zip(rows, labels, axes, strict=True):
        for picture, axis in zip(row, row_axes, strict=False):
            axis.imshow(picture, cmap="gray", interpolation="nearest")
        row_axes[0].text(-0.1, 0.5, label, transform=row_axes[0].transAxes, ha="right", va="center")
    figure.suptitle(title, y=1 - 0.12 / size[1], va="top", fontsize=11)
    figure.subplots_adjust(
        left=margin / size[0],
        right=0.995,
        bottom=0.005,
        top=1 - 0.42 / size[1],
        wspace=0.06,
        hspace=0.06,
    )
    return figure


def to_unit_range(values: np.ndarray) -> np.ndarray:
    """Values stretched linearly to [0, 1], each picture [height, width, channels] for itself."""
    axes = tuple(range(1, values.ndim))
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    stretched: np.ndarray = (values - low) / np.maximum(high - low, 1e-12)
    return stretched
