"""Measure the three models on the test split: numbers and tables, no pictures.

Reads the section `evaluation` of params.yaml, data/models/, the test split, the training
images, to know which test images nearly repeat one, and what training reached on validation images.
Writes metrics/summary.json (the few numbers that DVC shows), metrics/evaluate.json (all of them),
metrics/predictions.csv (a row an image), the ROC curves in metrics/roc/, and data/explanations.npz,
from which `draw` pictures what the networks see.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.data.files import read_json, write_arrays, write_csv, write_json
from stages.data.near_duplicates import can_be_compared, near_duplicates
from stages.data.perturbations import perturbed
from stages.data.splits import Split, read_split
from stages.models.explanations import explain
from stages.models.loading import load_model
from stages.models.names import MODELS
from stages.models.storage import Classifier
from stages.statistics.balance import headline_measure
from stages.statistics.classification import classification_metrics
from stages.statistics.paired import paired_comparison
from stages.statistics.roc import roc_points

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

TRAINED = {name: Path(f"metrics/{each.stage}.json") for name, each in MODELS.items()}
SUMMARY = Path("metrics/summary.json")
METRICS = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
ROC_CURVES = Path("metrics/roc")
EXPLANATIONS = Path("data/explanations.npz")


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, predict, measure, explain, write."""
    test = read_split("test")
    fresh = without_near_duplicates(test)
    models = {name: load_model(Path(each.path)) for name, each in MODELS.items()}
    predicted = {name: model.predict(test.images) for name, model in models.items()}
    n_changed = min(params.evaluation.robustness_images, len(test))
    robustness = accuracy_when_changed(test, predicted, models, n_changed)
    measured: dict[str, Any] = {
        **measure(test.labels, predicted, fresh, robustness, models),
        "comparisons": compare(test.labels, predicted),
        "images": {
            "test": len(test),
            **({} if fresh is None else {"without_near_duplicates": int(fresh.sum())}),
            "robustness": n_changed,
        },
    }
    headline = headline_measure(np.bincount(test.labels).tolist())
    write_json(SUMMARY, summary(measured, headline))
    write_json(METRICS, measured)
    write_csv(PREDICTIONS, predictions_table(test, predicted))
    for name, probabilities in predicted.items():
        write_csv(ROC_CURVES / f"{name}.csv", roc_points(test.labels, probabilities))
    write_arrays(EXPLANATIONS, explain(models, test, predicted["mobilenet"]))


def without_near_duplicates(test: Split) -> np.ndarray | None:
    """Which images do not nearly repeat a training image, bool [n]; None of too many images."""
    training = read_split("train").images
    if not can_be_compared(len(test), len(training)):
        return None
    fresh: np.ndarray = ~near_duplicates(test.images, training)
    return fresh


def accuracy_when_changed(
    test: Split,
    predicted: Mapping[str, np.ndarray],
    models: Mapping[str, Classifier],
    n_images: int,
) -> dict[str, dict[str, float]]:
    """Accuracy on changed copies of the first test images, and on these as they are.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.
        models: by name.
        n_images: how many images are changed.

    Returns:
        By model and change (see `perturbed`), `unchanged` first.
    """

    def share(probabilities: np.ndarray) -> float:
        return float((probabilities.argmax(axis=1) == test.labels[:n_images]).mean())

    shares = {name: {"unchanged": share(each[:n_images])} for name, each in predicted.items()}
    for change, images in perturbed(test.images[:n_images]):
        for name, model in models.items():
            shares[name][change] = share(model.predict(images))
    return shares


def measure(
    labels: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    fresh: np.ndarray | None,
    robustness: Mapping[str, Mapping[str, float]],
    models: Mapping[str, Classifier],
) -> dict[str, dict[str, Any]]:
    """What `metrics/evaluate.json` says of each model.

    Args:
        labels: int [n].
        predicted: probabilities float [n, classes] by the model's name.
        fresh: bool [n], which images do not nearly repeat a training image; None if not known.
        robustness: accuracy by model and change.
        models: by name.
    """
    measured = {}
    for name, probabilities in predicted.items():
        right = probabilities.argmax(axis=1) == labels
        measured[name] = {
            **classification_metrics(labels, probabilities),
            **accuracy_when(right, fresh, "without_near_duplicates"),
            **when_sure(right, probabilities.max(axis=1), models[name].sure_from),
            "robustness": robustness[name],
        }
    return measured


def when_sure(
    right: np.ndarray, confidence: np.ndarray, sure_from: float | None
) -> dict[str, float]:
    """How often a model is sure, and right then; the limit was chosen on the validation images.

    Args:
        right: bool [n].
        confidence: float [n], of each prediction.
        sure_from: from which confidence it is sure; None if it never is.
    """
    sure = np.zeros_like(right) if sure_from is None else confidence >= sure_from
    return {"share_sure": float(sure.mean()), **accuracy_when(right, sure, "when_sure")}


def accuracy_when(right: np.ndarray, chosen: np.ndarray | None, name: str) -> dict[str, float]:
    """The accuracy on some images, as `accuracy_<name>`; nothing if there are none.

    Args:
        right: bool [n].
        chosen: bool [n]; None if it is not known which.
        name: of them.
    """
    if chosen is None or not chosen.any():
        return {}
    return {f"accuracy_{name}": float(right[chosen].mean())}


def compare(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | int]]:
    """Each model against each that is simpler, on the same images, as `cnn_vs_baseline`."""
    right = {name: each.argmax(axis=1) == labels for name, each in predicted.items()}
    return {
        f"{better}_vs_{simpler}": paired_comparison(right[better], right[simpler]).metrics
        for simpler, better in combinations(right, 2)
    }


def summary(measured: Mapping[str, Mapping[str, float]], headline: str) -> dict[str, float]:
    """What `metrics/summary.json` says, in the order in which `dvc exp show` has it.

    DVC shows a column a number: these six are as many as 120 characters hold.

    Args:
        measured: of each model on the test images, by its name.
        headline: `accuracy`, or `balanced_accuracy` where classes are not equally frequent.

    Returns:
        This measure of each model on the validation images, `<model>_val`, and on the test images,
        `<model>_test`.
    """
    validated = {name: read_json(path)["validation"] for name, path in TRAINED.items()}
    return {
        f"{name}_{split}": values[name][headline]
        for split, values in (("val", validated), ("test", measured))
        for name in MODELS
    }


def predictions_table(test: Split, predicted: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What each model predicts for each test image.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.

    Returns:
        A row an image: `index` (see `Split.indices`), `actual` class, and for each model the
        class that it predicts and a column `<model>_<class>` with the probability of each class.
    """
    names = np.array(test.classes)
    columns: dict[str, np.ndarray] = {"index": test.indices, "actual": names[test.labels]}
    for model, probabilities in predicted.items():
        columns[model] = names[probabilities.argmax(axis=1)]
        for label, name in enumerate(test.classes):
            columns[f"{model}_{name}"] = probabilities[:, label]
    return pd.DataFrame(columns)
