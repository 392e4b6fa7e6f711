"""The predictions for each test image, as `evaluate` keeps them in Git, and whether two pair up."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.data.errors import UserError

PREDICTIONS = "metrics/predictions.csv"
KEYS = ("index", "actual")
ROUNDING = 1e-3  # of the sum of probabilities that are kept with six decimals
EXAMPLES = 3


@dataclass(frozen=True)
class Predictions:
    """What the models predict for each test image, in the order of the images' numbers.

    Attributes:
        indices: int [n], position in CIFAR-10's test images.
        actual: str [n], class of each image.
        classes: names of the classes, in the order of the probabilities.
        predicted: by model the class that it predicts, str [n].
        probabilities: by model, float [n, classes]; a model without them is not in it.
    """

    indices: np.ndarray
    actual: np.ndarray
    classes: list[str]
    predicted: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.indices)

    def is_right(self, model: str) -> np.ndarray:
        """Whether a model is right on each image, bool [n]."""
        right: np.ndarray = self.predicted[model] == self.actual
        return right

    @property
    def labels(self) -> np.ndarray:
        """Class of each image as a position in `classes`, int [n]."""
        position = {name: number for number, name in enumerate(self.classes)}
        return np.array([position[name] for name in self.actual])


def table_in(content: bytes, path: str, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """What a CSV file holds.

    Args:
        content: of the file.
        path: of the file, for the messages.
        columns: that it has to have.
        remedy: what to do where it is damaged, for the messages.

    Raises:
        UserError: it is no table with these columns, or a row is cut off.
    """
    try:
        table = pd.read_csv(io.BytesIO(content), skip_blank_lines=False)
        if lacking := [name for name in columns if name not in table]:
            raise ValueError(f"has no column {' and '.join(lacking)}")
        damaged = np.flatnonzero(table.isna().any(axis=1))
        if damaged.size:
            raise ValueError(f"line {damaged[0] + 2} is cut off or not as the others")
    except ValueError as error:  # pandas' errors of parsing are such, too
        raise UserError(f"{path}: {' '.join(str(error).split())}; {remedy}") from None
    return table


def predictions_in(content: bytes, remedy: str) -> Predictions:
    """What a table of predictions holds.

    Args:
        content: of the file.
        remedy: what to do where it is damaged, for the messages.

    Raises:
        UserError: it is not such a table, or a row is damaged.
    """
    table = table_in(content, PREDICTIONS, KEYS, remedy)
    try:
        if not len(table):
            raise ValueError("has no rows")
        if not pd.api.types.is_integer_dtype(table["index"]):
            raise ValueError("column index: holds something else than whole numbers")
        repeated = np.flatnonzero(table["index"].duplicated())
        if repeated.size:
            raise ValueError(f"line {repeated[0] + 2} has an image again that is above")
        return _parsed(table.sort_values("index", kind="stable"))
    except ValueError as error:
        raise UserError(f"{PREDICTIONS}: {error}; {remedy}") from None


def _parsed(table: pd.DataFrame) -> Predictions:
    actual = table["actual"].to_numpy(dtype=str)
    others = [str(name) for name in table if name not in KEYS]
    # A prediction is a name, a probability is a number.
    models = [name for name in others if not pd.api.types.is_numeric_dtype(table[name])]
    if not models:
        raise ValueError("has no column with the predictions of a model")
    names = set(actual)
    classes = [name.removeprefix(f"{models[0]}_") for name in others]
    classes = [name for name in classes if name in names]
    if set(classes) != names:
        classes = sorted(names)
    predicted = {model: table[model].to_numpy(dtype=str) for model in models}
    for model, given in predicted.items():
        strange = np.flatnonzero(~np.isin(given, classes))
        if strange.size:
            line, found = table.index[strange[0]] + 2, str(given[strange[0]])
            raise ValueError(f"line {line}: {model}: {found!r} is none of {', '.join(classes)}")
    probabilities = {}
    for model in models:
        columns = [f"{model}_{name}" for name in classes]
        if all(column in table for column in columns):
            probabilities[model] = _probabilities(table, model, columns)
    return Predictions(table["index"].to_numpy(), actual, classes, predicted, probabilities)


def _probabilities(table: pd.DataFrame, model: str, columns: list[str]) -> np.ndarray:
    values = table[columns].to_numpy(dtype=float)
    outside = ~((values >= 0) & (values <= 1)).all(axis=1)
    wrong = np.flatnonzero(outside | (np.abs(values.sum(axis=1) - 1) > ROUNDING))
    if wrong.size:
        line = table.index[wrong[0]] + 2
        raise ValueError(f"line {line}: {model}: its probabilities are not those of a whole")
    return values


def why_not_paired(base: Predictions, head: Predictions) -> str:
    """Why two sets of predictions are not of the same images; empty if they are."""
    if set(base.classes) != set(head.classes):
        return f"the classes were {', '.join(base.classes)} and are {', '.join(head.classes)}"
    common = len(np.intersect1d(base.indices, head.indices))
    if not len(base) == len(head) == common:
        return f"there were {len(base):,} test images and are {len(head):,}, {common:,} in common"
    other = np.flatnonzero(base.actual != head.actual)
    if other.size:
        first = ", ".join(str(index) for index in base.indices[other[:EXAMPLES]])
        return f"{other.size:,} of the images have another label (first: number {first})"
    return ""
