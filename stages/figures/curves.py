"""Pictures of curves: what a threshold trades, and how a network learned."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn import metrics

from stages.figures.style import (
    INK,
    PALE_INK,
    WIDTH,
    legend_below,
    line_style,
    marker_style,
    new_figure,
    percent_ticks,
    styled,
)
from stages.statistics.roc import roc_points

CORNER = 0.2  # side of the corner that the ROC and precision-recall panels show enlarged


@styled
def roc_and_precision_recall(labels: np.ndarray, predicted: Mapping[str, np.ndarray]) -> Figure:
    """ROC and precision-recall curves of all models, the corner of the good ones enlarged.

    The second of two classes is the positive one; of more, the curves are the mean of each class
    against the rest.

    Args:
        labels: int [n], every class among them.
        predicted: by title of the model probabilities float [n, classes].
    """
    n_classes = next(iter(predicted.values())).shape[1]
    binary = n_classes == 2
    title = f"Which errors a threshold trades: {len(labels):,} test images"
    figure = new_figure(title, WIDTH, 4.9 + 0.2 * len(predicted))
    roc, precision_recall = figure.subplots(1, 2)
    chance = float(np.mean(labels == 1)) if binary else 1 / n_classes
    rocs = [roc, _corner(roc, (0.47, 0.08), (0, 1 - CORNER))]
    precision_recalls = [precision_recall]
    if chance > 0.45:  # otherwise curves of weak models run where the corner would be drawn
        corner = _corner(precision_recall, (0.14, 0.08), (1 - CORNER, 1 - CORNER))
        precision_recalls.append(corner)
    for position, (model, probabilities) in enumerate(predicted.items()):
        look = line_style(position)
        scores = probabilities[:, 1] if binary else probabilities
        area = metrics.roc_auc_score(labels, scores, multi_class="ovr")
        points = roc_points(labels, probabilities).to_numpy().T
        for axis in rocs:
            axis.plot(*points, label=f"{model}: AUC {area:.3f}", **look)
        recall, precision, average = precision_recall_points(labels, probabilities)
        for axis in precision_recalls:
            axis.step(recall, precision, where="pre", label=f"{model}: AP {average:.3f}", **look)
    roc.plot([0, 1], [0, 1], color=PALE_INK, linewidth=1, label="chance")
    precision_recall.axhline(chance, color=PALE_INK, linewidth=1, label="chance")
    roc.set(
        title="ROC" if binary else "ROC, mean of the classes",
        xlabel="false positive rate (share of negatives)",
        ylabel="true positive rate (share of positives)",
    )
    precision_recall.set(
        title="precision–recall" if binary else "precision–recall, mean of the classes",
        xlabel="recall (share of positives)",
        ylabel="precision (share of positive predictions)",
    )
    for axis in (roc, precision_recall):
        axis.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    areas, averages = (each.get_legend_handles_labels() for each in (roc, precision_recall))
    figure.legend(*areas, loc="outside lower left", handlelength=3)
    figure.legend(*averages, loc="outside lower right", handlelength=3)
    return figure


def precision_recall_points(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The precision-recall curve: of the second of two classes, else the mean over the classes.

    Args:
        labels: int [n], every class among them.
        probabilities: float [n, classes].

    Returns:
        Recall, rising from 0 to 1; at each the precision, which holds from the recall before it;
        and the average precision, which is the area below these steps.
    """
    n_classes = probabilities.shape[1]
    positives = [1] if n_classes == 2 else range(n_classes)
    scored = [(labels == label, probabilities[:, label]) for label in positives]
    average = float(np.mean([metrics.average_precision_score(*each) for each in scored]))
    # scikit-learn's curves fall from recall 1 to 0.
    curves = [
        (recall[::-1], precision[::-1])
        for precision, recall, _ in (metrics.precision_recall_curve(*each) for each in scored)
    ]
    recalls = np.unique(np.concatenate([recall for recall, _ in curves]))
    precisions = [precision[np.searchsorted(recall, recalls)] for recall, precision in curves]
    return recalls, np.mean(precisions, axis=0), average


def _corner(axis: Axes, place: tuple[float, float], low: tuple[float, float]) -> Axes:
    """An inset at a place of the panel; it enlarges the square that begins at `low`."""
    inset = axis.inset_axes((*place, 0.5, 0.4), zorder=4)
    (left, bottom), margin = low, CORNER / 40
    inset.set(
        xlim=(left - margin, left + CORNER + margin),
        ylim=(bottom - margin, bottom + CORNER + margin),
        xticks=np.linspace(left, left + CORNER, 3),
        yticks=np.linspace(bottom, bottom + CORNER, 3),
    )
    inset.tick_params(labelsize=8, length=2)
    inset.spines[["top", "right"]].set_visible(True)
    indicator = axis.indicate_inset_zoom(inset, edgecolor=INK, alpha=0.6)
    for connector in indicator.connectors or ():  # they would cross the curves
        connector.set_visible(False)
    return inset


@styled
def learning_curves(curves: pd.DataFrame, title: str) -> Figure:
    """Loss and accuracy of each epoch, on the images learned from and on those held back.

    Args:
        curves: columns epoch, train_loss, train_accuracy, validation_loss, validation_accuracy;
            losses in nats, accuracies as shares. The model has the weights of the last epoch.
        title: of the whole.
    """
    kept_epoch = int(curves["epoch"].max())
    figure = new_figure(title, WIDTH, 3.7)
    loss, accuracy = figure.subplots(1, 2)
    for axis, measure in ((loss, "loss"), (accuracy, "accuracy")):
        for position, (split, dashes) in enumerate((("train", "--"), ("validation", "-"))):
            look = {**marker_style(position), "linestyle": dashes, "markersize": 4}
            axis.plot(curves["epoch"], curves[f"{split}_{measure}"], label=split, **look)
        kept = f"epoch kept ({kept_epoch})"
        axis.axvline(kept_epoch, color=INK, linestyle=":", linewidth=1.4, label=kept)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
    loss.set_ylabel("cross-entropy (nats)")
    accuracy.set_ylabel("accuracy (share of images)")
    accuracy.yaxis.set_major_formatter(percent_ticks())
    legend_below(figure, loss)
    return figure
