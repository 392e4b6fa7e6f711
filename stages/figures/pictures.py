"""All pictures of the pipeline, by name: what the data are, how good the models are, what they see.

Those named after a model, as `cnn_filters`, are about that model alone. Where functions take
`predicted`, it is the probabilities float [n, classes] of the test images by the model's name.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.data.splits import Split
from stages.figures.curves import learning_curves, roc_and_precision_recall
from stages.figures.intervals import accuracy_intervals, reliability, robustness
from stages.figures.photos import captioned_grid, evidence_grid, image_grid
from stages.figures.predictions import confusion, feature_map, score_histograms
from stages.models.names import MODELS
from stages.models.storage import StoredModel
from stages.statistics.selection import joint_contradictions, sure_mistakes, unsure_hits

PHOTOS = 24  # in a grid
SAMPLES = 10  # of each class
FILTERS_IN_A_ROW = 16


def data_pictures(splits: Mapping[str, Split], issues: pd.DataFrame) -> dict[str, Figure]:
    """Training images, and those with doubtful labels.

    Args:
        splits: train and validation.
        issues: what `audit_labels` found, the least credible label first.
    """
    training = splits["train"]
    side, classes = training.photo_size, training.classes
    rows = [
        training.images[np.flatnonzero(training.labels == each)[:SAMPLES]]
        for each in range(len(classes))
    ]
    shown = issues.head(PHOTOS).to_dict("records")
    photos = [
        splits[row["split"]].images[splits[row["split"]].indices == row["index"]][0]
        for row in shown
    ]
    captions = [f"{_short(row['index'])}: {row['label']}\n→ {row['suggested']}?" for row in shown]
    title = "Doubtful labels of training images, the least credible first"
    return {
        "samples": image_grid(rows, classes, f"Training images, {side}×{side} pixels"),
        "label_issues": captioned_grid(
            photos, captions, f"{title} ({len(shown)} of {len(issues)})"
        ),
    }


def measure_pictures(
    test: Split, predicted: Mapping[str, np.ndarray], measured: Mapping[str, Mapping[str, Any]]
) -> dict[str, Figure]:
    """How good the models are.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.
        measured: what `metrics/evaluate.json` says, by the model's name.
    """
    labels, classes = test.labels, test.classes
    titled = {MODELS[name].title: probabilities for name, probabilities in predicted.items()}
    measures = {MODELS[name].title: measured[name] for name in predicted}
    changed = {title: each["robustness"] for title, each in measures.items()}
    return {
        "accuracy": accuracy_intervals(measures, len(labels)),
        "roc_pr": roc_and_precision_recall(labels, titled),
        "reliability": reliability(labels, titled),
        "confusion": confusion(labels, titled, classes),
        "score_histograms": score_histograms(labels, titled, classes),
        "robustness": robustness(changed, measured["images"]["robustness"]),
    }


def prediction_pictures(test: Split, predicted: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Photos that the models get wrong, or barely right."""
    pictures = {}
    for name, probabilities in predicted.items():
        for kind, what, chosen in (
            ("mistakes", "mistakes, the surest first", sure_mistakes),
            ("unsure", "right predictions, the least sure first", unsure_hits),
        ):
            positions = chosen(test.labels, probabilities)
            title = f"{MODELS[name].title}: {what}"
            photos = _first_photos(test, positions, probabilities, title)
            pictures[f"{name}_{kind}"] = photos
    contradicted = joint_contradictions(test.labels, [*predicted.values()])
    mean = np.mean([*predicted.values()], axis=0)
    title = "Test images whose label all models contradict, with their mean probability"
    pictures["disagreements"] = _first_photos(test, contradicted, mean, title)
    return pictures


def _first_photos(
    test: Split, positions: np.ndarray, probabilities: np.ndarray, title: str
) -> Figure:
    shown = positions[:PHOTOS]
    captions = _captions(test, shown, probabilities)
    return captioned_grid(
        test.images[shown], captions, f"{title} ({len(shown)} of {len(positions):,})"
    )


def _captions(test: Split, positions: np.ndarray, probabilities: np.ndarray) -> list[str]:
    """Of each image: its number and class, then the prediction and how sure it is."""
    return [
        f"{_short(test.indices[each])}: {test.classes[test.labels[each]]}\n"
        f"→ {test.classes[probabilities[each].argmax()]} {100 * probabilities[each].max():.0f} %"
        for each in positions
    ]


def _short(index: int | str) -> str:
    """An image's number, or the name of its file."""
    return str(index).rpartition("/")[2]


def model_pictures(
    baseline: StoredModel, cnn: StoredModel, curves: Mapping[str, pd.DataFrame]
) -> dict[str, Figure]:
    """What the models have learned, and how.

    Args:
        baseline: its file.
        cnn: its file.
        curves: a row an epoch, by the model's name; the model has the weights of the last.
    """
    side = math.isqrt(len(baseline.arrays["weights"]))
    weights = [of_class.reshape(1, side, side) for of_class in baseline.arrays["weights"].T]
    kernel = cnn.arrays["conv_1/kernel"]  # [height, width, channels, filters]
    low, high = kernel.min((0, 1, 2)), kernel.max((0, 1, 2))
    filters = np.moveaxis((kernel - low) / np.maximum(high - low, 1e-12), -1, 0)
    if filters.shape[-1] == 1:
        filters = filters[..., 0]
    starts = range(0, len(filters), FILTERS_IN_A_ROW)
    title = "CNN: filters of the first layer, each stretched to the full range"
    return {
        "baseline_weights": image_grid(weights, baseline.classes, "Baseline: weights", side=1.92),
        "cnn_filters": image_grid(
            [filters[start : start + FILTERS_IN_A_ROW] for start in starts],
            [""] * len(starts),
            title,
        ),
        **{
            f"{name}_learning_curves": learning_curves(
                table,
                f"{MODELS[name].title}: loss and accuracy by epoch",
            )
            for name, table in curves.items()
        },
    }


def explanation_pictures(
    explanations: Mapping[str, np.ndarray], test: Split, probabilities: np.ndarray
) -> dict[str, Figure]:
    """What the networks see.

    Args:
        explanations: see `stages.models.explanations`.
        test: the test split.
        probabilities: float [n, classes], MobileNet's predictions.
    """
    classes = test.classes
    responses = {
        key.removeprefix("responses/"): maps
        for key, maps in explanations.items()
        if key.startswith("responses/")
    }
    positions = explanations["evidence_positions"]
    mapped = len(explanations["map_points"])
    return {
        "cnn_responses": image_grid(
            [test.images[:1], *responses.values()],
            ["image", *responses],
            "CNN: responses of the first filters of each layer to one image",
        ),
        "mobilenet_evidence": evidence_grid(
            test.images[positions],
            explanations["evidence"],
            _captions(test, positions, probabilities),
            f"{MODELS['mobilenet'].title}: where it sees what, on sure mistakes and sure hits",
            (classes[1], classes[0])
            if len(classes) == 2
            else ("the prediction", "the other classes"),
        ),
        "feature_map": feature_map(
            explanations["map_points"],
            test.labels[:mapped],
            (probabilities.argmax(axis=1) == test.labels)[:mapped],
            classes,
            explanations["map_variance"],
        ),
    }
