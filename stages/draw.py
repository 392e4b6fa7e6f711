"""Draw all pictures, from what the other stages have computed; nothing is computed here.

Reads metrics/, the models' files, the splits and data/explanations.npz.
Writes the folder metrics/figures/.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stages.data.errors import UserError
from stages.data.files import read_arrays, read_json
from stages.data.splits import SPLIT_NAMES, read_split
from stages.figures.pictures import (
    data_pictures,
    explanation_pictures,
    measure_pictures,
    model_pictures,
    prediction_pictures,
)
from stages.figures.style import save_figure
from stages.models.names import MODELS
from stages.models.storage import read_model

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

EVALUATION = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
ISSUES = Path("metrics/label_issues.csv")
CURVES = {
    "cnn": Path("metrics/train_cnn_curves.csv"),
    "mobilenet": Path("metrics/finetune_mobilenet_curves.csv"),
}
BASELINE, CNN = (Path(f"data/models/{name}.npz") for name in ("baseline", "cnn"))
EXPLANATIONS = Path("data/explanations.npz")
FIGURES = Path("metrics/figures")


def main(_params: "Params", _report: "EpochReport") -> None:
    """Read, draw, write."""
    splits = {name: read_split(name) for name in SPLIT_NAMES}
    test = splits.pop("test")
    table = read_csv(PREDICTIONS)
    predicted = {
        model: table[[f"{model}_{name}" for name in test.classes]].to_numpy() for model in MODELS
    }
    curves = {name: read_csv(path) for name, path in CURVES.items()}
    explanations = read_arrays(EXPLANATIONS)
    pictures = {
        **data_pictures(splits, read_csv(ISSUES)),
        **model_pictures(read_model(BASELINE), read_model(CNN), curves),
        **measure_pictures(test, predicted, read_json(EVALUATION)),
        **prediction_pictures(test, predicted),
        **explanation_pictures(explanations, test, predicted["mobilenet"]),
    }
    for name, figure in pictures.items():
        save_figure(FIGURES / f"{name}.png", figure)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that another stage wrote.

    Raises:
        UserError: the file is missing or is not CSV.
    """
    try:
        return pd.read_csv(path, converters={"label": str, "suggested": str})  # a class may be 07
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from error
