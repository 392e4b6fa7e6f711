"""Measure the three models on the test split, which no other stage reads.

Reads data/models/ and the test split.
Writes metrics/evaluate.json, metrics/predictions.csv (a row an image) and the ROC curves; confusion
matrices are drawn by DVC from the predictions. In MLflow the measures also go to the run that made
each model, as `test.accuracy` and so on, and the best model is registered (`registry` in
params.yaml).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.data.splits import Split, read_split
from stages.models.loading import load_model
from stages.statistics.classification import classification_metrics, roc_points
from stages.tracking.evaluation import spread_evaluation
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.files import write_csv, write_json

MODELS = {name: Path(f"data/models/{name}.npz") for name in ("baseline", "cnn", "mobilenet")}
METRICS = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
ROC_CURVES = {name: Path(f"metrics/roc/{name}.csv") for name in MODELS}


def main() -> None:
    """Read, predict, measure, write."""
    with track_stage("evaluate", announce=spread_evaluation):
        test = read_split("test")
        classifiers = {name: load_model(path) for name, path in MODELS.items()}
        predicted = {name: each.predict(test.images) for name, each in classifiers.items()}
        measured = {
            name: classification_metrics(test.labels, probabilities)
            for name, probabilities in predicted.items()
        }
        write_json(METRICS, measured)
        write_csv(PREDICTIONS, predictions_table(test, predicted, classifiers["baseline"].classes))
        for name, probabilities in predicted.items():
            write_csv(ROC_CURVES[name], roc_points(test.labels, probabilities))


def predictions_table(
    test: Split, predicted: dict[str, np.ndarray], classes: list[str]
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
