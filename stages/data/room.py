"""Room for large arrays: in memory, or on disk beyond a limit."""

import errno
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from stages.data.errors import UserError

MEMORY_LIMIT = 2**30  # bytes an array may take in memory; larger ones are streamed
GIB = 2**30


def is_large(n_bytes: int) -> bool:
    """Whether so many bytes of one array are kept on disk."""
    return n_bytes > MEMORY_LIMIT


def room(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array to be filled; a large one lies in an unnamed file below `data/`.

    The file is gone with the array, also when the process is killed.

    Raises:
        UserError: the disk has not so much space.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if not is_large(n_bytes):
        return np.empty(shape, dtype)
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        _allocate(file.fileno(), n_bytes, folder)
        return np.memmap(file, dtype, "r+", shape=shape)


def _allocate(file: int, n_bytes: int, folder: Path) -> None:
    """Take the space now: a mapped file that finds the disk full later ends the process."""
    free = shutil.disk_usage(folder).free
    try:
        if n_bytes > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.truncate(file, n_bytes)
        if hasattr(os, "posix_fallocate"):  # not on a Mac
            os.posix_fallocate(file, 0, n_bytes)
    except OSError as error:
        raise UserError(
            f"{folder.resolve()}: {n_bytes / GIB:.1f} GiB are needed for a while and "
            f"{free / GIB:.1f} are free; free space, or use fewer or smaller images"
        ) from error
