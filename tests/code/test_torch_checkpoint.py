"""Reading PyTorch's old weight files: the right numbers, no foreign code, no crash."""

import hashlib
import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stages.data.errors import UserError
from stages.data.mobilenet_weights import decode_checkpoint
from stages.models.pretrained_weights import obtain_mobilenet

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<i8": "LongStorage", "|u1": "ByteStorage"}


class StorageReference:
    """What stands for a storage while a stand-in of PyTorch's writer is at work."""

    def __init__(self, key: str, numbers: np.ndarray) -> None:
        self.key, self.numbers = key, numbers


@contextmanager
def stand_in_torch() -> Iterator[ModuleType]:
    """Give the names of PyTorch that a pickle refers to, without PyTorch."""
    torch, inner = ModuleType("torch"), ModuleType("torch._utils")
    for kind in KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = inner  # type: ignore[attr-defined]
    with patch.dict(sys.modules, {"torch": torch, "torch._utils": inner}):
        yield torch


class StandInTensor:
    """A tensor that is pickled as PyTorch's are."""

    def __init__(self, storage: StorageReference, offset: int, view: np.ndarray) -> None:
        steps = tuple(step // view.itemsize for step in view.strides)
        self.arguments: tuple[Any, ...] = (storage, offset, view.shape, steps, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class StandInPickler(pickle.Pickler):
    """Writes references to storages as PyTorch does."""

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, StorageReference):
            return None
        kind = getattr(sys.modules["torch"], KINDS[obj.numbers.dtype.str])
        return ("storage", kind, obj.key, "cpu", obj.numbers.size, None)


def save(tensors: Mapping[str, Any], storages: list[StorageReference]) -> bytes:
    """Write a state dict in PyTorch's old format."""
    file = io.BytesIO()
    for header in (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}):
        pickle.dump(header, file, 2)
    with stand_in_torch():
        StandInPickler(file, 2).dump(OrderedDict(tensors))
    pickle.dump([storage.key for storage in storages], file, 2)
    for storage in storages:
        file.write(struct.pack("<q", storage.numbers.size) + storage.numbers.tobytes())
    return file.getvalue()


def save_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    storages = [StorageReference(str(i), a.reshape(-1)) for i, a in enumerate(arrays.values())]
    pairs = zip(arrays.items(), storages, strict=True)
    return save({name: StandInTensor(s, 0, array) for (name, array), s in pairs}, storages)


ARRAYS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1), ARRAYS, max_size=4))
def test_every_number_comes_back_as_it_was_saved(arrays: dict[str, np.ndarray]) -> None:
    found = decode_checkpoint(save_arrays(arrays), "weights.pt")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_transposed_and_shared_weights_come_back_right() -> None:
    numbers = np.arange(20, dtype=np.float32)
    storage = StorageReference("7", numbers)
    transposed = numbers[2:14].reshape(3, 4).T
    tensors = {
        "a": StandInTensor(storage, 2, transposed),
        "b": StandInTensor(storage, 0, numbers),
    }
    found = decode_checkpoint(save(tensors, [storage]), "weights.pt")
    np.testing.assert_array_equal(found["a"], transposed)
    np.testing.assert_array_equal(found["b"], numbers)


def test_a_tensor_beyond_its_storage_is_refused_instead_of_reading_other_memory() -> None:
    storage = StorageReference("0", np.zeros(6, np.float32))
    tensor = StandInTensor(storage, 1, np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match=r"weights.pt: .*size of buffer"):
        decode_checkpoint(save({"layer": tensor}, [storage]), "weights.pt")


def weights() -> bytes:
    return save_arrays({"w": np.ones((2, 3), np.float32), "n": np.array(5, np.int64)})


@pytest.mark.parametrize("wanted", ["os.system", "builtins.eval", "torch.load"])
def test_weights_that_would_run_code_are_refused_by_name(wanted: str) -> None:
    module, name = wanted.split(".")
    evil = f"c{module}\n{name}\n(S'true'\ntR.".encode()
    header_end = weights().index(b"ccollections")
    for content in (weights()[:header_end] + evil, evil):
        with pytest.raises(UserError, match=rf"weights.pt: .*'{wanted}', which could run code"):
            decode_checkpoint(content, "weights.pt")


def test_weights_cut_short_anywhere_are_a_plain_message() -> None:
    whole = weights()
    for content in (*(whole[:length] for length in range(len(whole))), whole + b"\0"):
        with pytest.raises(UserError, match=r"^weights\.pt: is no state dict"):
            decode_checkpoint(content, "weights.pt")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_weights_are_a_plain_message_and_never_a_crash(data: st.DataObject) -> None:
    damaged = bytearray(weights())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_checkpoint(bytes(damaged), "weights.pt")
    except UserError as error:
        assert str(error).startswith("weights.pt: ")  # noqa: PT017 -- or only a number changed


def test_a_file_of_the_users_own_is_compared_with_his_checksum_and_decoded(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(UserError, match=r"weights\.pt: its sha256 is missing"):
        obtain_mobilenet(str(path), "0" * 64, tmp_path)
    path.write_bytes(weights())
    with pytest.raises(UserError, match=r"params\.yaml says 0000"):
        obtain_mobilenet(str(path), "0" * 64, tmp_path)
    sha256 = hashlib.sha256(weights()).hexdigest()
    with pytest.raises(UserError, match=r"not the weights of a MobileNetV2: features.* is miss"):
        obtain_mobilenet(str(path), sha256, tmp_path)
    path.write_bytes(b"PK\x03\x04, as torch writes since 1.6")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="_use_new_zipfile_serialization=False"):
        obtain_mobilenet(str(path), sha256, tmp_path)
