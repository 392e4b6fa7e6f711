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
WHOLE = r"\d{1,18}"


@dataclass(frozen=True)
class Predictions:
    """What the models predict for each test image, in the order of the images' numbers.

    Attributes:
        indices: int or str [n], position in CIFAR-10's test images or path in a folder of photos.
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
        return np.asarray(pd.Categorical(self.actual, self.classes).codes)


def table_in(content: bytes, path: str, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """What a CSV file holds, str: a class may be named 1, true or NA.

    Args:
        content: of the file.
        path: of the file, for the messages.
        columns: that it has to have.
        remedy: what to do where it is damaged, for the messages.

    Raises:
        UserError: it is no table with these columns, or a row is cut off.
    """
    try:
        table = pd.read_csv(
            io.BytesIO(content), dtype=str, keep_default_na=False, skip_blank_lines=False
        )
        if lacking := [name for name in columns if name not in table]:
            raise ValueError(f"has no column {' and '.join(lacking)}")
        _refuse((table.isna() | (table == "")).any(axis=1), "is cut off or not as the others")
    except ValueError as error:  # pandas' errors of parsing are such, too
        raise UserError(f"{path}: {' '.join(str(error).split())}; {remedy}") from None
    return table


def predictions_in(content: bytes, remedy: str) -> Predictions:
    """What a table of predictions holds; see `table_in`.

    Raises:
        UserError: it is not such a table, or a row is damaged.
    """
    table = table_in(content, PREDICTIONS, KEYS, remedy)
    try:
        return _parsed(table)
    except ValueError as error:
        raise UserError(f"{PREDICTIONS}: {error}; {remedy}") from None


def _parsed(table: pd.DataFrame) -> Predictions:
    if len(table) < 2:
        raise ValueError("has fewer than two rows")
    index = table["index"]
    is_number, is_path = index.str.fullmatch(WHOLE), index.str.contains("/", regex=False)
    good = is_path if is_path.any() else is_number
    _refuse(~good, "index: is neither a whole number nor the path of a photo")
    if is_number.all():
        table["index"] = index.astype(int)
    _refuse(table["index"].duplicated(), "has an image again that is above")
    table = table.sort_values("index", kind="stable")
    actual = table["actual"].to_numpy(dtype=str)
    others = [str(name) for name in table if name not in KEYS]
    names = set(actual.tolist())
    shares = {f"{model}_{name}" for model in others for name in names}
    models = [name for name in others if name not in shares]
    if not models:
        raise ValueError("has no column with the predictions of a model")
    classes = [name.removeprefix(f"{models[0]}_") for name in others]
    classes = [name for name in classes if name in names]
    if set(classes) != names:
        classes = sorted(names)
    probabilities = {}
    for model in models:
        strange = table[model][~table[model].isin(classes)]
        if len(strange):
            what = f"{model}: {strange.iloc[0]!r} is none of {', '.join(classes)}"
            raise ValueError(f"line {strange.index[0] + 2}: {what}")
        columns = [f"{model}_{name}" for name in classes]
        if set(columns) <= set(others):
            given = table[columns].apply(pd.to_numeric, errors="coerce")
            off = (given.sum(axis=1) - 1).abs() > ROUNDING
            off |= ~((given >= 0) & (given <= 1)).all(axis=1)
            _refuse(off, f"{model}: its probabilities are not those of a whole")
            probabilities[model] = given.to_numpy()
    predicted = {model: table[model].to_numpy(dtype=str) for model in models}
    return Predictions(table["index"].to_numpy(), actual, classes, predicted, probabilities)


def _refuse(is_damaged: pd.Series, what: str) -> None:
    """Name the first row of a table that is damaged, by its line in the file."""
    for line in is_damaged.index[is_damaged][:1]:
        raise ValueError(f"line {line + 2}: {what}")


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
