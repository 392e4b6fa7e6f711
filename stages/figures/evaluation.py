"""The pictures of an evaluation: how good the models are, and on which photos they fail."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from stages.data.splits import Split
from stages.figures.answers import confusion, feature_map, score_histograms
from stages.figures.curves import learning_curves, roc_and_precision_recall
from stages.figures.photos import captioned_grid, evidence_grid
from stages.figures.quality import accuracy_intervals, reliability, robustness
from stages.figures.telling import joint_contradictions, sure_mistakes, unsure_hits
from stages.models.titles import TITLES

PHOTOS = 24  # in a grid
EXPLAINED = 8  # mistakes, and as many hits
MAPPED = 400  # points that can still be told apart


def pictures_of_measures(
    labels: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    measured: Mapping[str, Mapping[str, Any]],
    classes: list[str],
) -> dict[str, Figure]:
    """What is drawn from labels, probabilities and measures alone.

    Args:
        labels: int [n].
        predicted: probabilities float [n, classes] by the model's name.
        measured: what `metrics/evaluate.json` says, by the model's name.
        classes: their names.
    """
    titled = {TITLES[name]: probabilities for name, probabilities in predicted.items()}
    intervals = {
        TITLES[name]: (of["accuracy"], of["accuracy_ci_low"], of["accuracy_ci_high"])
        for name, of in measured.items()
        if name in TITLES
    }
    changed = {TITLES[name]: measured[name]["robustness"] for name in predicted}
    return {
        "accuracy": accuracy_intervals(intervals, len(labels)),
        "roc_pr": roc_and_precision_recall(labels, titled),
        "reliability": reliability(labels, titled),
        "confusion": confusion(labels, titled, classes),
        "score_histograms": score_histograms(labels, titled, classes),
        "robustness": robustness(changed, measured["images"]["robustness"]),
    }


def pictures_of_training(curves: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Learning curves by the model's name; kept is the last epoch, whose weights the model has."""
    return {
        f"{name}_learning_curves": learning_curves(
            table, f"{TITLES[name]}: loss and accuracy by epoch", int(table["epoch"].max())
        )
        for name, table in curves.items()
    }


def pictures_of_answers(
    test: Split, predicted: Mapping[str, np.ndarray], classes: list[str]
) -> dict[str, Figure]:
    """Photos on which the models fail, or nearly.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.
        classes: their names.
    """
    pictures = {}
    for name, probabilities in predicted.items():
        captions = _captions(test, probabilities, classes)
        for kind, what, chosen in (
            ("mistakes", "mistakes, the surest first", sure_mistakes),
            ("unsure", "right answers, the least sure first", unsure_hits),
        ):
            of_kind = chosen(test.labels, probabilities)
            shown = of_kind[:PHOTOS]
            title = f"{TITLES[name]}: {what} ({len(shown)} of {len(of_kind):,})"
            pictures[f"{name}_{kind}"] = captioned_grid(
                test.images[shown], [captions[position] for position in shown], title
            )
    contradicted = joint_contradictions(test.labels, [*predicted.values()])
    mean = np.mean([*predicted.values()], axis=0)
    captions = _captions(test, mean, classes)
    shown = contradicted[:PHOTOS]
    pictures["disagreements"] = captioned_grid(
        test.images[shown],
        [captions[position] for position in shown],
        f"Test images whose label all models contradict ({len(shown)} of {len(contradicted)}), "
        "with the models' mean probability",
    )
    return pictures


def explained_images(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions of the images that `picture_of_evidence` shows: mistakes first, then hits."""
    return np.concatenate(
        [
            sure_mistakes(labels, probabilities)[:EXPLAINED],
            unsure_hits(labels, probabilities)[::-1][:EXPLAINED],
        ]
    )


def picture_of_evidence(
    test: Split,
    probabilities: np.ndarray,
    positions: np.ndarray,
    maps: np.ndarray,
    classes: list[str],
) -> Figure:
    """Photos with what speaks for a class laid over them.

    Args:
        test: the test split.
        probabilities: float [n, classes] of the model.
        positions: int [m], which images.
        maps: float [m, height, width], the evidence of each (see `stages.models.explaining`).
        classes: their names.
    """
    captions = _captions(test, probabilities, classes)
    binary = len(classes) == 2
    names = (classes[1], classes[0]) if binary else ("the answer", "the other classes")
    title = f"{TITLES['mobilenet']}: where it sees what, on sure mistakes and sure hits"
    return evidence_grid(
        test.images[positions], maps, [captions[each] for each in positions], title, names
    )


def picture_of_features(
    features: np.ndarray, labels: np.ndarray, right: np.ndarray, classes: list[str]
) -> Figure:
    """A network's features of images in the plane of their first two principal components.

    Args:
        features: float [n, features].
        labels: int [n].
        right: bool [n], whether the network answers rightly.
        classes: their names.
    """
    components = PCA(2, svd_solver="full").fit(features)
    first, second = components.explained_variance_ratio_
    points = components.transform(features)
    return feature_map(points, labels, right, classes, (float(first), float(second)))


def _captions(test: Split, probabilities: np.ndarray, classes: list[str]) -> list[str]:
    """Of each image: its number and class, then the answer and how sure it is."""
    confidence = 100 * probabilities.max(axis=1)
    return [
        f"{number}: {classes[label]}\n→ {classes[answer]} {sure:.0f} %"
        for number, label, answer, sure in zip(
            test.indices, test.labels, probabilities.argmax(axis=1), confidence, strict=True
        )
    ]
