"""The models of this project as MLflow loads them, and what they take.

They take photos as the bytes of their files, in a column `image`: REST (where MLflow decodes
base64), Python and Spark have these alike. MLflow keeps the library with each logged model and
calls `_load_pyfunc` of this module by its name, so nothing of tracking is imported here, and MLflow
only where it is there already.
"""

import base64
import binascii
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.data.photos import read_photo
from stages.data.splits import split_path
from stages.models.loading import load_model
from stages.models.photo_predictions import columns, predictions_of
from stages.models.storage import Classifier

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

COLUMN, ERROR = "image", "error"
ERRORS_AS_ROWS = "errors_as_rows"  # a parameter that may come with photos
BATCH, THREADS = 100, 2  # photos that are in memory at once, and read at once
ALLOWED = f"allowed: a column `{COLUMN}` with the content of a file, as JPEG or PNG, in each row"


class ServedModel:
    """A classifier in the form that MLflow calls."""

    def __init__(self, classifier: Classifier, most_images: int | None = None) -> None:
        """Wrap a classifier, which is asked for so many photos at once at most."""
        self._classifier, self._most_images = classifier, most_images

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self._classifier.classes

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """What photos show, a row each: see `stages.models.photo_predictions.columns`.

        Args:
            model_input: a table or a mapping with the column `image`, or a list: of bytes of files,
                or of their base64.
            params: `errors_as_rows`: whether what is no photo gets a row, too. Then there is a
                column `error` that says why it is none, and is empty for photos.

        Raises:
            MlflowException: one is no photo; MLflow's server then answers 400 with the reason.
        """
        from mlflow.exceptions import MlflowException

        as_rows = bool(params and params.get(ERRORS_AS_ROWS))
        types = columns(self.classes)
        # Not NaN, which JSON does not know; and text, of which Spark would make "None".
        blank = dict.fromkeys(types, None) | {"prediction": "", "sure": False}
        rows: list[dict[str, Any]] = []
        try:
            contents = _contents(model_input)
            if self._most_images and len(contents) > self._most_images:
                allowed = f"up to {self._most_images:,}; ask for the others in another request"
                raise UserError(f"there are {len(contents):,} photos; allowed: {allowed}")
            for start in range(0, len(contents), BATCH):
                batch, side = contents[start : start + BATCH], self._classifier.photo_size
                read = _read(batch, start, side, keep_errors=as_rows)
                photos = [each for each in read if not isinstance(each, UserError)]
                said = iter(predictions_of(self._classifier, np.stack(photos)) if photos else [])
                rows.extend(
                    blank | {ERROR: str(each)}
                    if isinstance(each, UserError)
                    else next(said).row | {ERROR: ""}
                    for each in read
                )
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        table = pd.DataFrame(rows, dtype=object)
        return table if as_rows else table.drop(columns=ERROR).astype(types)


def _contents(given: Any) -> list[Any]:
    """The column of photos.

    Raises:
        UserError: there is none, or it is empty.
    """
    if isinstance(given, pd.DataFrame | Mapping):
        if COLUMN not in given:
            have = ", ".join(map(str, given)) or "none"
            raise UserError(f"there is no column `{COLUMN}`, but {have}; {ALLOWED}")
        given = given[COLUMN]
    if isinstance(given, bytes | str):
        given = [given]
    if not isinstance(given, list | tuple | pd.Series | np.ndarray):
        raise UserError(f"a {type(given).__name__} is not allowed; {ALLOWED}")
    if len(given) == 0:
        raise UserError(f"there is no photo; {ALLOWED}")
    return list(given)


def _read(
    contents: list[Any], start: int, side: int, *, keep_errors: bool
) -> list[np.ndarray | UserError]:
    """Photos as a model takes them, uint8 [side, side, 3] each, and why others are none.

    Raises:
        UserError: one is none, and errors are not kept: its number, from 0, and why.
    """

    def read(numbered: tuple[int, Any]) -> np.ndarray | UserError:
        number, content = numbered
        try:
            return read_photo(_bytes_of(content), side)
        except UserError as error:
            if keep_errors:
                return error
            raise UserError(f"{COLUMN} {number} {error}") from error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read, enumerate(contents, start)))


def _bytes_of(content: Any) -> bytes:
    """The content of a photo's file, which may come as base64: of `inputs` MLflow decodes none.

    Raises:
        UserError: it is something else.
    """
    if isinstance(content, str):
        content = content.encode()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise UserError(f"is a {type(content).__name__}; allowed: the bytes of a photo's file")
    try:
        return base64.b64decode(content, validate=True) or bytes(content)
    except binascii.Error:  # so it is the file itself: none has such letters alone
        return bytes(content)


def signature_of(classes: list[str]) -> "ModelSignature":
    """What a model takes and gives, in the words of MLflow."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    types = {str: DataType.string, float: DataType.double, bool: DataType.boolean}
    given = Schema([ColSpec(types[kind], name) for name, kind in columns(classes).items()])
    taken = Schema([ColSpec(DataType.binary, COLUMN)])
    params = ParamSchema([ParamSpec(ERRORS_AS_ROWS, DataType.boolean, default=False)])
    return ModelSignature(taken, given, params)


def an_input() -> pd.DataFrame:
    """A photo as a model takes it: of the validation images, if they are here."""
    path, file = split_path("validation"), BytesIO()
    image = read_arrays(path)["images"][0] if path.exists() else np.full((32, 32, 3), 99, np.uint8)
    Image.fromarray(image).save(file, "PNG")
    return pd.DataFrame({COLUMN: [file.getvalue()]})


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load_model(Path(path)))
