"""Files: an output appears whole or not at all, and the same content is the same bytes."""

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.lib.format import (
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
    write_array,
)

from stages.data.errors import UserError
from stages.data.room import is_large

if TYPE_CHECKING:
    import pandas as pd

# What NumPy and zipfile raise for truncated, altered and foreign files.
UNREADABLE = (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
JSON_DECIMALS = 6  # finer than any interval that 2,000 images allow


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `path` when the block ends without error.

    A process that is killed in the block leaves `path` as it was; after a power failure it is the
    old file or the new one, whole. The unfinished file has a fixed name, so that the next run
    overwrites it.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())  # else a power failure could leave the new name with no content
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error}); free space or fix rights") from error
    finally:
        with suppress(OSError):  # the error that led here is the one to tell
            unfinished.unlink(missing_ok=True)


def file_hash(path: Path, algorithm: str) -> str:
    """Hex digest of a file's bytes; with `md5` it is the hash that DVC records for the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write nested values as JSON, floats rounded to `JSON_DECIMALS` decimals.

    Raises:
        ValueError: a value is infinite or not a number, which JSON does not have.
    """
    text = json.dumps(_rounded(values), indent=2, allow_nan=False) + "\n"
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, JSON_DECIMALS) if isinstance(value, float) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); run `dvc repro`") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); run `dvc repro`") from error
    return values


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV without its index, floats with `JSON_DECIMALS` decimals."""
    with replacing(path) as unfinished:
        table.to_csv(unfinished, index=False, float_format=f"%.{JSON_DECIMALS}f")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed `.npz`: the same arrays give the same bytes.

    As `np.savez` does, which has each member in the form of ZIP that files beyond 4 GB need: how
    that is written differs between releases of Python. Here only large members have it.
    """
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, array in arrays.items():
            zip64 = is_large(array.nbytes)
            with archive.open(f"{name}.npy", "w", force_zip64=zip64) as member:
                write_array(member, array, allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz` file, without unpickling anything.

    Large ones are mapped: they stay on disk and are read where they are looked at.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            members = cast("zipfile.ZipFile", archive.zip).infolist()
            return {
                member.filename.removesuffix(".npy"): _mapped(path, member)
                if is_large(member.file_size)
                else archive[member.filename.removesuffix(".npy")]
                for member in members
            }
    except FileNotFoundError:
        raise _missing(path) from None
    except UNREADABLE as error:
        message = f"{path}: cannot be read ({error}); delete it and run `dvc repro`"
        raise UserError(message) from error


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an uncompressed `.npz` file, left where it is."""
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # two lengths end the 30 bytes of a local header
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, os.SEEK_CUR)
        header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
        shape, is_fortran, dtype = header[read_magic(file)](file)
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def _missing(path: Path) -> UserError:
    return UserError(f"{path}: no such file; make it with `dvc repro` or fetch it with `dvc pull`")
