"""Pictures of what the models predict for the single images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from sklearn.metrics import confusion_matrix

from stages.figures.style import (
    INK,
    WIDTH,
    legend_below,
    marker_style,
    new_figure,
    panel_grid,
    patch_style,
    percent,
    percent_ticks,
    styled,
)

SCORE_BINS = 25
MOST_FILLED = 3  # histograms
NOTHING = 0.5  # images, where the logarithmic axis begins


@styled
def confusion(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Figure:
    """Confusion matrices: in each cell the number of images and its share of the actual class.

    Args:
        labels: int [n].
        predicted: by title of the model probabilities float [n, classes].
        classes: their names.
    """
    side, size = max(0.8 * len(classes), 2.0), 11 if len(classes) == 2 else 8.5
    title = f"What is taken for what: {len(labels):,} test images"
    figure, axes = panel_grid(title, list(predicted), "actual class", side + 1.1, side + 0.65)
    for axis, probabilities in zip(axes, predicted.values(), strict=True):
        predictions = probabilities.argmax(axis=1)
        counts, shares = (
            confusion_matrix(labels, predictions, labels=range(len(classes)), normalize=normalize)
            for normalize in (None, "true")
        )
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            told = f"{count:,}\n{percent(share)}"
            color = "white" if share > 0.7 else INK
            axis.text(column, row, told, ha="center", va="center", color=color, fontsize=size)
        axis.set_xticks(range(len(classes)), classes)
        axis.set_yticks(range(len(classes)), classes, rotation=90, va="center")
        axis.set_xlabel("prediction")
        axis.tick_params(length=0)
        axis.grid(visible=False)
    return figure


@styled
def score_histograms(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Figure:
    """How sure the models are, by actual class, the number of images on a logarithmic axis.

    Args:
        labels: int [n].
        predicted: by title of the model probabilities float [n, classes].
        classes: their names. Of two, the score is the probability of the second; of more, the
            probability of the actual class.
    """
    binary = len(classes) == 2
    title = f"How far the models separate the classes: {len(labels):,} test images"
    figure, axes = panel_grid(title, list(predicted), "images", height=3.4)
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    highest = max(1, *np.bincount(labels))
    for axis, probabilities in zip(axes, predicted.values(), strict=True):
        own = probabilities[np.arange(len(labels)), labels]
        scores = probabilities[:, 1] if binary else own
        for label, name in enumerate(classes):
            counts, _ = np.histogram(np.clip(scores[labels == label], 0, 1), edges)
            look = patch_style(label)
            if len(classes) > MOST_FILLED:  # filled ones would hide each other
                look = {"edgecolor": look["edgecolor"]}
            axis.stairs(
                np.maximum(counts, NOTHING),
                edges,
                baseline=NOTHING,
                fill="facecolor" in look,
                linewidth=1.4,
                linestyle=("solid", "dashed", "dotted", "dashdot")[label % 4],
                label=name,
                **look,
            )
        if binary:
            axis.axvline(0.5, color=INK, linestyle=":", linewidth=1.2)
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set(xlim=(-0.02, 1.02), ylim=(NOTHING, 2 * highest))
        axis.set_xlabel(f"probability of {classes[1]}" if binary else "probability of actual class")
        axis.xaxis.set_major_formatter(percent_ticks())
    legend_below(figure, axes[0], "actual class")
    return figure


@styled
def feature_map(
    points: np.ndarray,
    labels: np.ndarray,
    right: np.ndarray,
    classes: Sequence[str],
    explained: np.ndarray,
) -> Figure:
    """Images as points in the plane of their first two principal components, mistakes ringed.

    Args:
        points: float [n, 2].
        labels: int [n].
        right: bool [n], whether the model's prediction is right.
        classes: their names.
        explained: float [2], shares of the variance along the two components.
    """
    title = f"Where the mistakes lie: features of {len(labels):,} test images in two dimensions"
    across, up = np.maximum(np.ptp(points, axis=0), 1e-12)
    figure = new_figure(title, WIDTH, 1.4 + 0.9 * WIDTH * float(np.clip(up / across, 0.35, 0.8)))
    axis = figure.subplots()
    x, y = points.T
    for label, name in enumerate(classes):
        own = labels == label
        axis.scatter(
            x[own],
            y[own],
            s=20,
            alpha=0.65,
            linewidths=0.4,
            edgecolors="white",
            label=f"{name} ({own.sum():,})",
            **marker_style(label),
        )
    rings: dict[str, Any] = {
        "s": 75,
        "facecolors": "none",
        "edgecolors": "black",
        "linewidths": 1.3,
    }
    axis.scatter(x[~right], y[~right], label=f"mistakes ({(~right).sum():,})", **rings)
    first, second = (percent(share, 0) for share in explained)
    axis.set(
        xlabel=f"first principal component ({first} of the variance)",
        ylabel=f"second principal component\n({second} of the variance)",
    )
    axis.set_aspect("equal", adjustable="datalim")
    legend_below(figure, axis)
    return figure
