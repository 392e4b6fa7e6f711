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
    shade_rows,
    styled,
)
from stages.statistics.intervals import wilson

CONFIDENCE_BINS = 10


@styled
def accuracy_intervals(
    measured: Mapping[str, tuple[float, float, float]], images: int | None = None
) -> Figure:
    """Accuracy of each model with its 95 % interval, the numbers beside it.

    Args:
        measured: by title of the model its accuracy and the ends of the Wilson interval, shares
            in [0, 1]; the first stands on top.
        images: how many were tested, for the title.
    """
    tested = f"{images:,} test images" if images else "the test images"
    title = f"How sure the accuracy is: 95 % intervals on {tested}"
    figure = new_figure(title, WIDTH, 1.25 + 0.5 * len(measured))
    axis = figure.subplots()
    lowest = min(low for _, low, _ in measured.values())
    axis.set_xlim(max(0.0, np.floor(lowest * 20 - 0.2) / 20), 1.004)
    shade_rows(axis, len(measured))
    for row, (accuracy, low, high) in enumerate(measured.values()):
        _interval(axis, row, accuracy, (low, high), row)
        text = f"{percent(accuracy)}  ({100 * low:.1f} – {100 * high:.1f})"
        axis.annotate(
            text,
            (1, row),
            (10, 0),
            xycoords=axis.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=10.5,
        )
    _rows(axis, list(measured))
    axis.set_xlabel("accuracy (share of test images)")
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
    shade_rows(axis, len(changes))
    for position, (model, by_change) in enumerate(shares.items()):
        look = marker_style(position)
        unchanged = by_change[changes[0]]
        axis.axvline(unchanged, color=look["color"], linestyle=":", linewidth=1.2)
        axis.plot([], [], linestyle="none", markersize=7, label=model, **look)
        beside = (position - (len(shares) - 1) / 2) * 0.6 / len(shares)  # so that none is hidden
        for row, change in enumerate(changes):
            share = by_change[change]
            ends = wilson(round(share * images), images)
            _interval(axis, row + beside, share, ends, position)
    axis.set_xlim(max(-0.01, axis.get_xlim()[0]), 1.01)
    _rows(axis, [change.replace("_", " ") for change in changes])
    axis.set_xlabel("accuracy (share of test images)")
    legend_below(figure, axis)
    return figure


def _interval(
    axis: Axes, row: float, share: float, ends: tuple[float, float], position: int
) -> None:
    """A share as the marker of the model at this position, with its interval, in a row."""
    look = marker_style(position)
    # Rounded inputs can leave the share outside by the last digit.
    reach = [[max(share - ends[0], 0.0)], [max(ends[1] - share, 0.0)]]
    axis.errorbar(
        [share],
        [row],
        xerr=reach,
        capsize=5,
        capthick=1.6,
        elinewidth=1.6,
        markersize=6,
        zorder=3,
        **look,
    )


def _rows(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=10.5)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_formatter(percent_ticks())


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
    ratios = {"height_ratios": [3, 1] * blocks}
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex=True, gridspec_kw=ratios)
    for position, (model, probabilities) in enumerate(predicted.items()):
        block, column = divmod(position, columns)
        binned = confidence_bins(labels, probabilities)
        lowest = 1 / probabilities.shape[1]
        diagram, histogram = axes[2 * block : 2 * block + 2, column]
        diagram.set_title(model)
        _reliability_diagram(diagram, binned, lowest, position)
        _confidence_histogram(histogram, binned, lowest, position)
        if column == 0:
            diagram.set_ylabel("accuracy (share of bin)")
            histogram.set_ylabel("share of\nimages")
        for each in (diagram, histogram):
            each.tick_params(labelleft=column == 0)
    for spare in axes[-2:, len(predicted) - columns * (blocks - 1) :].flat:
        spare.set_axis_off()
    return figure


def _reliability_diagram(axis: Axes, binned: pd.DataFrame, lowest: float, position: int) -> None:
    axis.plot([lowest, 1], [lowest, 1], color=PALE_INK, linewidth=1)
    axis.errorbar(
        binned["confidence"],
        binned["accuracy"],
        yerr=binned[["low", "high"]].sub(binned["accuracy"], axis=0).abs().to_numpy().T,
        capsize=3,
        linestyle="none",
        markersize=6,
        elinewidth=1.4,
        **marker_style(position),
    )
    axis.set(xlim=(lowest - 0.02, 1.02), ylim=(-0.02, 1.02))
    axis.yaxis.set_major_formatter(percent_ticks())


def _confidence_histogram(axis: Axes, binned: pd.DataFrame, lowest: float, position: int) -> None:
    edges = np.linspace(lowest, 1, CONFIDENCE_BINS + 1)
    axis.bar(
        edges[binned.index],
        binned["images"] / binned["images"].sum(),
        width=(1 - lowest) / CONFIDENCE_BINS,
        align="edge",
        facecolor=(marker_style(position)["color"], 0.5),
        edgecolor=INK,
        linewidth=0.6,
    )
    axis.set(ylim=(0, 1), xlabel="confidence")
    axis.tick_params(labelbottom=True)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(percent_ticks())


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
    binned = (
        pd.DataFrame({"confidence": confidence, "accuracy": right, "images": right})
        .groupby(number)
        .agg({"confidence": "mean", "accuracy": "mean", "images": "size"})
    )
    ends = [
        wilson(round(accuracy * n), n)
        for accuracy, n in zip(binned["accuracy"], binned["images"], strict=True)
    ]
    return binned.assign(low=[low for low, _ in ends], high=[high for _, high in ends])
