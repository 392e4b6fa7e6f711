"""All pictures of the pipeline, by name: what the data are, how good the models are, what they see.

Those named after a model, as `cnn_filters`, are about that model alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.data.splits import Split
from stages.figures.curves import learning_curves, roc_and_precision_recall
from stages.figures.intervals import accuracy_intervals, reliability, robustness
from stages.figures.photos import captioned_grid, evidence_grid, image_grid, to_unit_range
from stages.figures.predictions import confusion, feature_map, score_histograms
from stages.models.names import MODELS
from stages.models.storage import StoredModel
from stages.statistics.selection import joint_contradictions, sure_mistakes, unsure_hits

PHOTOS = 24  # in a grid
SAMPLES = 10  # of each class
FILTERS_IN_A_ROW = 16


def data_pictures(
    splits: Mapping[str, Split], issues: pd.DataFrame, classes: Sequence[str]
) -> dict[str, Figure]:
    """Training images, and those with doubtful labels.

    Args:
        splits: train and validation.
        issues: what `audit_labels` found, the least credible label first.
        classes: their names.
    """
    training = splits["train"]
    rows = [training.images[training.labels == each][:SAMPLES] for each in range(len(classes))]
    photos = {
        (name, int(index)): image
        for name, split in splits.items()
        for index, image in zip(split.indices, split.images, strict=True)
    }
    shown = issues.head(PHOTOS)
    captions = [
        f"{index}: {label}\n→ {suggested}?"
        for index, label, suggested in zip(
            shown["index"], shown["label"], shown["suggested"], strict=True
        )
    ]
    title = "Doubtful labels of training images, the least credible first"
    return {
        "samples": image_grid(rows, classes, "Training images, 32×32 pixels"),
        "label_issues": captioned_grid(
            [photos[key] for key in zip(shown["split"], shown["index"], strict=True)],
            captions,
            f"{title} ({len(shown)} of {len(issues)})",
        ),
    }


def measure_pictures(
    labels: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    measured: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
) -> dict[str, Figure]:
    """How good the models are.

    Args:
        labels: int [n].
        predicted: probabilities float [n, classes] by the model's name.
        measured: what `metrics/evaluate.json` says, by the model's name.
        classes: their names.
    """
    titled = {MODELS[name].title: probabilities for name, probabilities in predicted.items()}
    ends = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
    intervals = {
        MODELS[name].title: (
            measured[name][ends[0]],
            measured[name][ends[1]],
            measured[name][ends[2]],
        )
        for name in predicted
    }
    changed = {MODELS[name].title: measured[name]["robustness"] for name in predicted}
    return {
        "accuracy": accuracy_intervals(intervals, len(labels)),
        "roc_pr": roc_and_precision_recall(labels, titled),
        "reliability": reliability(labels, titled),
        "confusion": confusion(labels, titled, classes),
        "score_histograms": score_histograms(labels, titled, classes),
        "robustness": robustness(changed, measured["images"]["robustness"]),
    }


def prediction_pictures(
    test: Split, predicted: Mapping[str, np.ndarray], classes: Sequence[str]
) -> dict[str, Figure]:
    """Photos that the models get wrong, or barely right.

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
            ("unsure", "right predictions, the least sure first", unsure_hits),
        ):
            of_kind = chosen(test.labels, probabilities)
            title = f"{MODELS[name].title}: {what}"
            pictures[f"{name}_{kind}"] = _first_photos(test, of_kind, captions, title)
    contradicted = joint_contradictions(test.labels, [*predicted.values()])
    captions = _captions(test, np.mean([*predicted.values()], axis=0), classes)
    title = "Test images whose label all models contradict, with their mean probability"
    pictures["disagreements"] = _first_photos(test, contradicted, captions, title)
    return pictures


def _first_photos(
    test: Split, positions: np.ndarray, captions: Sequence[str], title: str
) -> Figure:
    shown = positions[:PHOTOS]
    return captioned_grid(
        test.images[shown],
        [captions[position] for position in shown],
        f"{title} ({len(shown)} of {len(positions):,})",
    )


def model_pictures(
    baseline: StoredModel, cnn: StoredModel, curves: Mapping[str, pd.DataFrame]
) -> dict[str, Figure]:
    """What the models have learned, and how.

    Args:
        baseline: its file.
        cnn: its file.
        curves: a row an epoch, by the model's name; the model has the weights of the last.
    """
    weights = [of_class.reshape(1, 32, 32) for of_class in baseline.arrays["weights"].T]
    filters = to_unit_range(np.moveaxis(cnn.arrays["conv_1/kernel"], -1, 0))
    if filters.shape[-1] == 1:
        filters = filters[..., 0]
    rows = [
        filters[start : start + FILTERS_IN_A_ROW]
        for start in range(0, len(filters), FILTERS_IN_A_ROW)
    ]
    title = "CNN: filters of the first layer, each stretched to the full range"
    return {
        "baseline_weights": image_grid(weights, baseline.classes, "Baseline: weights", cell=2.0),
        "cnn_filters": image_grid(rows, [""] * len(rows), title),
        **{
            f"{name}_learning_curves": learning_curves(
                table,
                f"{MODELS[name].title}: loss and accuracy by epoch",
                int(table["epoch"].max()),
            )
            for name, table in curves.items()
        },
    }


def explanation_pictures(
    explanations: Mapping[str, np.ndarray],
    test: Split,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Figure]:
    """What the networks see.

    Args:
        explanations: see `stages.models.explanations`.
        test: the test split.
        probabilities: float [n, classes], MobileNet's predictions.
        classes: their names.
    """
    responses = {
        key.partition("/")[2]: maps
        for key, maps in explanations.items()
        if key.startswith("responses/")
    }
    positions = explanations["evidence_positions"]
    captions = _captions(test, probabilities, classes)
    binary = len(classes) == 2
    mapped = len(explanations["map_points"])
    first, second = explanations["map_variance"]
    return {
        "cnn_responses": image_grid(
            [test.images[:1], *responses.values()],
            ["image", *responses],
            "CNN: responses of the first filters of each layer to one image",
        ),
        "mobilenet_evidence": evidence_grid(
            test.images[positions],
            explanations["evidence"],
            [captions[position] for position in positions],
            f"{MODELS['mobilenet'].title}: where it sees what, on sure mistakes and sure hits",
            (classes[1], classes[0]) if binary else ("the prediction", "the other classes"),
        ),
        "feature_map": feature_map(
            explanations["map_points"],
            test.labels[:mapped],
            (probabilities.argmax(axis=1) == test.labels)[:mapped],
            classes,
            (float(first), float(second)),
        ),
    }


def _captions(test: Split, probabilities: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Of each image: its number and class, then the prediction and how sure it is."""
    confidence = 100 * probabilities.max(axis=1)
    return [
        f"{number}: {classes[label]}\n→ {classes[prediction]} {sure:.0f} %"
        for number, label, prediction, sure in zip(
            test.indices, test.labels, probabilities.argmax(axis=1), confidence, strict=True
        )
    ]
