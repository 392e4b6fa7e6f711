"""The models of this project as MLflow loads them, and what they take.

They take photos as the bytes of their files, in a column `image`: REST (where they are base64),
Python and Spark have these alike. MLflow keeps the library with each logged model and
calls `_load_pyfunc` of this module by its name, so nothing of tracking is imported here, and MLflow
only where it is there already.
"""

import base64
import binascii
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.data.photos import MOST_PIXELS, read_photo
from stages.data.splits import split_path
from stages.models.loading import load_model
from stages.models.photo_predictions import columns, predictions_of
from stages.models.storage import Classifier

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

COLUMN, ERROR = "image", "error"
ERRORS_AS_ROWS = "errors_as_rows"  # a parameter that may come with photos
BATCH = 100  # photos that are in memory at once
# One photo is read after the other, whoever asks: one of 50 megapixels takes up to 0.8 GiB, and
# small ones are read no faster by two threads.
_one_at_a_time = threading.Lock()
ALLOWED = f"allowed: a column `{COLUMN}` with the content of a file, as JPEG or PNG, in each row"


@dataclass(frozen=True)
class Limits:
    """What one request may have; by default what `predict` reads.

    Attributes:
        pixels: of each photo.
        formats: of photos, as Pillow names them; None for all that it reads.
        seconds: after which no more photos are read.
    """

    pixels: int = MOST_PIXELS
    formats: list[str] | None = None
    seconds: float = math.inf


NO_LIMITS = Limits()


class ServedModel:
    """A classifier in the form that MLflow calls."""

    def __init__(self, classifier: Classifier, limits: Limits = NO_LIMITS) -> None:
        """Wrap a classifier, and what it may be asked."""
        self._classifier, self._limits = classifier, limits

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

        deadline = time.monotonic() + self._limits.seconds
        as_rows = bool(params and params.get(ERRORS_AS_ROWS))
        types = columns(self.classes)
        # Not NaN, which JSON does not know; and text, of which Spark would make "None".
        blank = dict.fromkeys(types, None) | {"prediction": "", "sure": False}
        rows: list[dict[str, Any]] = []
        try:
            contents = contents_of(model_input)
            for start in range(0, len(contents), BATCH):
                batch = contents[start : start + BATCH]
                read = self._read(batch, start, deadline, keep_errors=as_rows)
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

    def _read(
        self, contents: list[Any], start: int, deadline: float, *, keep_errors: bool
    ) -> list[np.ndarray | UserError]:
        """Photos as a model takes them, uint8 [side, side, 3] each, and why others are none.

        Raises:
            UserError: one is none, and errors are not kept: its number, from 0, and why; or there
                is no more time.
        """
        limits, read = self._limits, list[np.ndarray | UserError]()
        for number, content in enumerate(contents, start):
            with _one_at_a_time:
                if time.monotonic() > deadline:  # who asked has been told so already
                    what = f"the photos took more than {limits.seconds:g} seconds"
                    raise UserError(f"{what}; ask for fewer in a request")
                try:
                    file, side = _bytes_of(content), self._classifier.photo_size
                    read.append(read_photo(file, side, limits.pixels, limits.formats))
                except UserError as error:
                    if not keep_errors:
                        raise UserError(f"{COLUMN} {number} {error}") from error
                    read.append(error)
        return read


def contents_of(given: Any) -> list[Any]:
    """The column of photos, of a table, a mapping, or a list of rows or of photos.

    Raises:
        UserError: there is none, or it is empty.
    """
    if isinstance(given, list) and given and all(isinstance(row, Mapping) for row in given):
        has = any(COLUMN in row for row in given)
        given = {COLUMN: [row.get(COLUMN) for row in given]} if has else given[0]
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


def _bytes_of(content: Any) -> bytes:
    """The content of a photo's file, which may come as base64: MLflow does not always decode it.

    Raises:
        UserError: it is something else.
    """
    if isinstance(content, str):
        try:
            return base64.b64decode("".join(content.split()), validate=True)
        except ValueError:
            what = "is text; allowed: base64 of a photo's file, with + and /, without `data:…,`"
            raise UserError(what) from None
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
