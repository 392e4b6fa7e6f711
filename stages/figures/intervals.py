"""Pictures of how good the models are, with how sure the numbers are."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures.style import (
    INK,
    PALE_INK,
    PANELS_IN_A_ROW,
    WIDTH,
    legend_below,
    marker_style,
    new_figure,
    percent,
    percent_ticks,
    styled,
)
from stages.statistics.intervals import wilson

CONFIDENCE_BINS = 10


@styled
def accuracy_intervals(measured: Mapping[str, Mapping[str, float]], images: int) -> Figure:
    """Accuracy of each model with its 95 % interval, the numbers beside it.

    Args:
        measured: by title of the model its accuracy, accuracy_ci_low and accuracy_ci_high.
        images: how many were tested, for the title.
    """
    title = f"How sure the accuracy is: 95 % intervals on {images:,} test images"
    figure = new_figure(title, WIDTH, 1.25 + 0.5 * len(measured))
    axis = figure.subplots()
    lowest = min(measures["accuracy_ci_low"] for measures in measured.values())
    axis.set_xlim(max(0.0, np.floor(lowest * 20 - 0.2) / 20), 1.004)
    for row, measures in enumerate(measured.values()):
        accuracy, low, high = (measures[f"accuracy{end}"] for end in ("", "_ci_low", "_ci_high"))
        _interval(axis, row, accuracy, (low, high), row)
        told = f"{percent(accuracy)}  ({100 * low:.1f} – {100 * high:.1f})"
        beside = axis.get_yaxis_transform()
        axis.text(1.03, row, told, transform=beside, va="center", fontsize=10.5)
    _rows(axis, list(measured))
    return figure


@styled
def robustness(shares: Mapping[str, Mapping[str, float]], images: int) -> Figure:
    """Accuracy of each model on changed photos; a dotted line leads down from "unchanged".

    Args:
        shares: by title of the model the accuracy by name of the change, "unchanged" first;
            the same names for all.
        images: how many were tested in each, from which the Wilson intervals follow.
    """
    changes = list(next(iter(shares.values())))
    title = f"When the photos change: accuracy on {images:,} test images, 95 % intervals"
    figure = new_figure(title, WIDTH, 1.4 + (0.2 + 0.1 * len(shares)) * len(changes))
    axis = figure.subplots()
    for position, (model, by_change) in enumerate(shares.items()):
        look = marker_style(position)
        axis.axvline(by_change["unchanged"], color=look["color"], linestyle=":", linewidth=1.2)
        axis.plot([], [], linestyle="none", markersize=7, label=model, **look)
        beside = (position - (len(shares) - 1) / 2) * 0.6 / len(shares)  # so that none is hidden
        for row, share in enumerate(by_change.values()):
            _interval(axis, row + beside, share, wilson(round(share * images), images), position)
    axis.set_xlim(max(-0.01, axis.get_xlim()[0]), 1.01)
    _rows(axis, [change.replace("_", " ") for change in changes])
    legend_below(figure, axis)
    return figure


def _interval(
    axis: Axes, row: float, share: float, ends: tuple[float, float], position: int
) -> None:
    """A share as the marker of the model at this position, with its interval, in a row."""
    # Rounded inputs can leave the share outside by the last digit.
    reach = [[max(share - ends[0], 0.0)], [max(ends[1] - share, 0.0)]]
    axis.errorbar([share], [row], xerr=reach, zorder=3, **marker_style(position))


def _rows(axis: Axes, names: list[str]) -> None:
    """Name the rows, the first on top, and shade every other, so that the eye keeps to one."""
    for row in range(0, len(names), 2):
        axis.axhspan(row - 0.5, row + 0.5, facecolor="#f4f4f4", zorder=0)
    axis.set_yticks(range(len(names)), names, fontsize=10.5)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_formatter(percent_ticks())
    axis.set_xlabel("accuracy (share of test images)")


@styled
def reliability(labels: np.ndarray, predicted: Mapping[str, np.ndarray]) -> Figure:
    """Reliability diagrams of the confidence, the highest probability (Guo et al., 2017).

    Args:
        labels: int [n].
        predicted: by title of the model probabilities float [n, classes].

    Returns:
        A panel a model: accuracy against mean confidence in ten equal bins from 1/classes to 1,
        with Wilson intervals; below it the share of images in each bin.
    """
    title = f"Whether confidence can be believed: 95 % intervals on {len(labels):,} test images"
    columns = min(len(predicted), PANELS_IN_A_ROW)
    blocks = -(-len(predicted) // columns)
    figure = new_figure(title, max(WIDTH / PANELS_IN_A_ROW * columns, WIDTH / 2), 4.3 * blocks)
    ratios = [3, 1] * blocks
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharey="row", height_ratios=ratios)
    for position, (model, probabilities) in enumerate(predicted.items()):
        look = marker_style(position)
        block, column = divmod(position, columns)
        diagram, histogram = axes[2 * block : 2 * block + 2, column]
        binned = confidence_bins(labels, probabilities)
        lowest = 1 / probabilities.shape[1]
        diagram.plot([lowest, 1], [lowest, 1], color=PALE_INK, linewidth=1)
        diagram.errorbar(
            binned["confidence"],
            binned["accuracy"],
            yerr=binned[["low", "high"]].sub(binned["accuracy"], axis=0).abs().to_numpy().T,
            linestyle="none",
            **look,
        )
        histogram.bar(
            np.linspace(lowest, 1, CONFIDENCE_BINS + 1)[binned.index],
            binned["images"] / len(labels),
            width=(1 - lowest) / CONFIDENCE_BINS,
            align="edge",
            facecolor=(look["color"], 0.5),
            edgecolor=INK,
            linewidth=0.6,
        )
        limits = (lowest - 0.02, 1.02)
        diagram.set(title=model, xlim=limits, ylim=(-0.02, 1.02))
        diagram.tick_params(labelbottom=False)
        histogram.set(xlabel="confidence", xlim=limits, ylim=(0, 1))
        for each in (diagram.yaxis, histogram.xaxis, histogram.yaxis):
            each.set_major_formatter(percent_ticks())
        if column == 0:
            diagram.set_ylabel("accuracy (share of bin)")
            histogram.set_ylabel("share of\nimages")
    for spare in axes[-2:, len(predicted) - columns * (blocks - 1) :].flat:
        spare.set_axis_off()
    return figure


def confidence_bins(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """How often the most probable class is right, by how probable it is.

    Args:
        labels: int [n].
        probabilities: float [n, classes].

    Returns:
        A row for each bin with images, by its number: their mean confidence, their accuracy,
        the ends low and high of its 95 % interval, and the number of images.
    """
    edges = np.linspace(1 / probabilities.shape[1], 1, CONFIDENCE_BINS + 1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.digitize(confidence, edges[1:-1], right=True)
    images = pd.DataFrame({"confidence": confidence, "right": right})
    binned = images.groupby(number).agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), images=("right", "size")
    )
    ends = [
        wilson(round(accuracy * n), n)
        for accuracy, n in zip(binned["accuracy"], binned["images"], strict=True)
    ]
    return binned.assign(low=[low for low, _ in ends], high=[high for _, high in ends])
