"""Reading weights that old PyTorch has saved, without PyTorch and without running their code.

The format (`torch.save` before 1.6) is: three pickles (a magic number, the protocol, system
info), a pickle of the object with references to storages, a pickle of the storages' keys, then
for each key an int64 count and that many numbers. Source: `_legacy_save` and `_legacy_load` in
torch/serialization.py.
"""

import io
import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.data.errors import UserError
from stages.data.restricted_pickle import load_restricted

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_AXES = 8  # a convolution over time and space has 5
_STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}


class _Storage(NamedTuple):
    """A reference to a storage: key, NumPy dtype and how many numbers it is said to hold."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage, offset and strides counted in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict from a file of the format above.

    Returns:
        The arrays in the order of the file, with their shapes and dtypes there.

    Raises:
        UserError: the file cannot be read, is truncated or malformed, or asks for other code.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    return decode_checkpoint(content, str(path))


def decode_checkpoint(content: bytes, where: str) -> dict[str, np.ndarray]:
    """Decode the bytes of a state dict; `where` names their file. See `read_checkpoint`."""
    file = io.BytesIO(content)
    _check_header(file, where)
    tensors = _tensors(load_restricted(file, _admitted(), where, _storage), where)
    keys = load_restricted(file, {}, where)
    storages = _read_storages(file, keys, _declared(tensors, where), where)
    if file.read(1):
        raise _malformed(where, "it goes on behind its last storage")
    return {name: _view(tensor, storages, f"{where}: {name}") for name, tensor in tensors.items()}


def _check_header(file: io.BytesIO, where: str) -> None:
    first = file.getvalue()[:4]
    if first.startswith(b"PK"):
        raise UserError(
            f"{where}: is a PyTorch file of the zip kind (torch 1.6 and later); save it with "
            "_use_new_zipfile_serialization=False"
        )
    magic = load_restricted(file, {}, where)
    protocol = load_restricted(file, {}, where)
    system = load_restricted(file, {}, where)
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
        raise _malformed(where, "it does not begin as PyTorch's files do")
    if system.get("little_endian") is not True:
        raise _malformed(where, "its numbers are not little-endian")


def _admitted() -> dict[str, Any]:
    return {
        "collections.OrderedDict": OrderedDict,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        **{f"torch.{name}": dtype for name, dtype in _STORAGE_DTYPES.items()},
    }


def _storage(reference: Any) -> _Storage:
    kind, dtype, key, _device, count, view = reference
    if kind != "storage" or dtype not in _STORAGE_DTYPES.values() or view is not None:
        raise ValueError("a reference that is not to a whole storage")
    return _Storage(_as_key(key), dtype, _as_size(count))


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *_autograd: Any
) -> _Tensor:
    """Stand in for the function of that name in torch._utils."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > _MAX_AXES:
        raise ValueError("a tensor without storage, or with a strange number of axes")
    sizes = tuple(_as_size(size) for size in shape)
    return _Tensor(storage, _as_size(offset), sizes, tuple(_as_size(step) for step in strides))


def _as_key(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a storage's key is {type(value).__name__}, not text")
    return value


def _as_size(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size, offset or stride that is not a natural number")
    return value


def _tensors(state: Any, where: str) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise _malformed(where, "it does not hold a state dict")
    for name, value in dict.items(state):  # an instance may have been given another `items`
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _malformed(where, f"its entry {name!r} is not a named tensor")
    return dict(dict.items(state))


def _declared(tensors: Mapping[str, _Tensor], where: str) -> dict[str, _Storage]:
    """Return the storages that the tensors refer to, by key."""
    storages: dict[str, _Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if storages.setdefault(storage.key, storage) != storage:
            raise _malformed(where, f"its storage {storage.key} is described in two ways")
    return storages


def _read_storages(
    file: io.BytesIO, keys: Any, declared: Mapping[str, _Storage], where: str
) -> dict[str, np.ndarray]:
    is_list = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not is_list or sorted(keys) != sorted(declared):
        raise _malformed(where, "its list of storages does not fit its tensors")
    return {key: _read_numbers(file, declared[key], where) for key in keys}


def _read_numbers(file: io.BytesIO, storage: _Storage, where: str) -> np.ndarray:
    head = file.read(8)
    if len(head) < 8:  # the bytes of an int64
        raise _malformed(where, "it is truncated")
    (count,) = struct.unpack("<q", head)
    if count != storage.length:
        raise _malformed(where, f"its storage {storage.key} has {count} numbers")
    size = count * np.dtype(storage.dtype).itemsize
    if size > len(file.getbuffer()) - file.tell():
        raise _malformed(where, "it is truncated")
    return np.frombuffer(file.read(size), dtype=storage.dtype)


def _view(tensor: _Tensor, storages: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    numbers = storages[tensor.storage.key]
    steps = list(zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum((size - 1) * step for size, step in steps)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, numbers.dtype)
    if last >= len(numbers) or math.prod(tensor.shape) > len(numbers):
        raise _malformed(where, "the tensor reaches beyond its storage")
    strides = [step * numbers.itemsize if size > 1 else 0 for size, step in steps]
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    return view.copy()


def _malformed(where: str, what: str) -> UserError:
    return UserError(f"{where}: is not a state dict of old PyTorch: {what}; fetch it again")
