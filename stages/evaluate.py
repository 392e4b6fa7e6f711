"""Measure the three models on the test split, which no other stage reads.

Reads `evaluation` and `data.classes` of params.yaml, data/models/, the test split, and the training
images, to know which test images nearly repeat one; the learning curves, to draw them.
Writes metrics/evaluate.json, metrics/predictions.csv (a row an image), the ROC curves, and the
pictures. In MLflow the measures also go to the run that made each model, as `test.accuracy` and so
on, and the best model is registered (`registry` in params.yaml).
"""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from stages.data.files import read_csv, write_csv, write_json
from stages.data.near_duplicates import near_duplicates
from stages.data.perturbations import perturbed
from stages.data.splits import Split, read_split
from stages.figures.drawing import save_figure
from stages.figures.evaluation import (
    MAPPED,
    explained_images,
    picture_of_evidence,
    picture_of_features,
    pictures_of_answers,
    pictures_of_measures,
    pictures_of_training,
)
from stages.models.loading import load_model
from stages.models.storage import Classifier
from stages.statistics.classification import classification_metrics, roc_points
from stages.statistics.paired import paired_comparison
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

if TYPE_CHECKING:
    from stages.models.network import NetworkClassifier

MODELS = {name: Path(f"data/models/{name}.npz") for name in ("baseline", "cnn", "mobilenet")}
CURVES = {
    "cnn": Path("metrics/train_cnn_curves.csv"),
    "mobilenet": Path("metrics/finetune_mobilenet_curves.csv"),
}
METRICS = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
ROC_CURVES = {name: Path(f"metrics/roc/{name}.csv") for name in MODELS}
FIGURES = Path("metrics/figures")


def main() -> None:
    """Read, predict, measure, write, draw."""
    params = read_params()
    classes: list[str] = [*params.data.classes]
    with track_stage("evaluate"):
        test = read_split("test")
        repeats = near_duplicates(test.images, read_split("train").images)
        classifiers = {name: load_model(path) for name, path in MODELS.items()}
        predicted = {name: each.predict(test.images) for name, each in classifiers.items()}
        n_changed = min(params.evaluation.robustness_images, len(test))
        robustness = accuracy_when_changed(test, predicted, classifiers, n_changed)
        measured: dict[str, Any] = {
            **measure(test.labels, predicted, repeats, robustness),
            "comparisons": compare(test.labels, predicted),
            "images": {
                "test": len(test),
                "without_near_duplicates": int((~repeats).sum()),
                "robustness": n_changed,
            },
        }
        write_json(METRICS, measured)
        write_csv(PREDICTIONS, predictions_table(test, predicted, classes))
        for name, probabilities in predicted.items():
            write_csv(ROC_CURVES[name], roc_points(test.labels, probabilities))
        pictures = {
            **pictures_of_training({name: read_csv(path) for name, path in CURVES.items()}),
            **pictures_of_measures(test.labels, predicted, measured, classes),
            **pictures_of_answers(test, predicted, classes),
            **explain(test, classifiers["mobilenet"], predicted["mobilenet"], classes),
        }
        for name, figure in pictures.items():
            save_figure(FIGURES / f"{name}.png", figure)


def accuracy_when_changed(
    test: Split,
    predicted: Mapping[str, np.ndarray],
    classifiers: Mapping[str, Classifier],
    n_images: int,
) -> dict[str, dict[str, float]]:
    """Accuracy on changed copies of the first test images, and on these as they are.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.
        classifiers: the models by name.
        n_images: how many images are changed.

    Returns:
        By model and change (see `perturbed`), `unchanged` first.
    """
    labels, copies = test.labels[:n_images], perturbed(test.images[:n_images])
    shares: dict[str, dict[str, float]] = {}
    for name, classifier in classifiers.items():
        answers = {"unchanged": predicted[name][:n_images]}
        for change, images in tqdm(copies.items(), f"{name}, changed images", disable=None):
            answers[change] = classifier.predict(images)
        shares[name] = {
            change: float((probabilities.argmax(axis=1) == labels).mean())
            for change, probabilities in answers.items()
        }
    return shares


def measure(
    labels: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    repeats: np.ndarray,
    robustness: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, Any]]:
    """What `metrics/evaluate.json` says of each model.

    Args:
        labels: int [n].
        predicted: probabilities float [n, classes] by the model's name.
        repeats: bool [n], whether an image nearly repeats a training image.
        robustness: accuracy by model and change.
    """
    measured = {}
    for name, probabilities in predicted.items():
        right = probabilities.argmax(axis=1) == labels
        measured[name] = {
            **classification_metrics(labels, probabilities),
            "accuracy_without_near_duplicates": float(right[~repeats].mean()),
            "robustness": robustness[name],
        }
    return measured


def compare(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | int]]:
    """Each model against each that is simpler, on the same images, as `cnn_vs_baseline`."""
    right = {name: each.argmax(axis=1) == labels for name, each in predicted.items()}
    return {
        f"{better}_vs_{simpler}": asdict(paired_comparison(right[better], right[simpler]))
        for simpler, better in combinations(right, 2)
    }


def explain(
    test: Split, mobilenet: Classifier, probabilities: np.ndarray, classes: list[str]
) -> dict[str, Figure]:
    """Pictures of what MobileNet sees: evidence on some photos, and a map of its features.

    Args:
        test: the test split.
        mobilenet: the fine-tuned network.
        probabilities: float [n, classes], its answers.
        classes: their names.
    """
    from stages.models.explaining import evidence, feature_maps  # imports TensorFlow

    network = cast("NetworkClassifier", mobilenet).network
    positions = explained_images(test.labels, probabilities)
    answers = probabilities[positions].argmax(axis=1)
    maps = evidence(network, feature_maps(network, test.images[positions]), answers)
    features = feature_maps(network, test.images[:MAPPED]).mean(axis=(1, 2))
    right = (probabilities.argmax(axis=1) == test.labels)[:MAPPED]
    return {
        "mobilenet_evidence": picture_of_evidence(test, probabilities, positions, maps, classes),
        "feature_map": picture_of_features(features, test.labels[:MAPPED], right, classes),
    }


def predictions_table(
    test: Split, predicted: Mapping[str, np.ndarray], classes: list[str]
) -> pd.DataFrame:
    """What each model says of each test image.

    Args:
        test: the test split.
        predicted: probabilities float [n, classes] by the model's name.
        classes: their names.

    Returns:
        A row an image: `index` in CIFAR-10's test images, `actual` class, and for each model the
        class that it names and a column `<model>_<class>` with the probability of each class.
    """
    names = np.array(classes)
    columns: dict[str, np.ndarray] = {"index": test.indices, "actual": names[test.labels]}
    for model, probabilities in predicted.items():
        columns[model] = names[probabilities.argmax(axis=1)]
        for label, name in enumerate(classes):
            columns[f"{model}_{name}"] = probabilities[:, label]
    return pd.DataFrame(columns)


if __name__ == "__main__":
    run_stage(main)
