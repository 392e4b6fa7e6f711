"""Reading PyTorch's old weight files: the right numbers, no foreign code, no crash."""

import hashlib
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def fragment(value: Any) -> bytes:
    """Pickle a value as a part of a larger pickle."""
    return pickle.dumps(value, 2)[2:-1]


def save(
    tensors: Mapping[str, tuple[str, int, np.ndarray]], storages: Mapping[str, np.ndarray]
) -> bytes:
    """Write a state dict as old PyTorch does; a tensor is its storage's key, offset and view."""
    empty = b"ccollections\nOrderedDict\n)R"
    state = b"\x80\x02" + empty + b"("
    for name, (key, offset, view) in tensors.items():
        kind = f"torch\n{KINDS[storages[key].dtype.str]}\n".encode()
        storage = b"(" + fragment("storage") + b"c" + kind + fragment(key) + fragment("cpu")
        storage += fragment(storages[key].size) + b"NtQ"
        steps = tuple(step // view.itemsize for step in view.strides)
        where = fragment(offset) + fragment(view.shape) + fragment(steps) + fragment(False)
        state += fragment(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        state += storage + where + empty + b"tR"
    header = (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True})
    parts = [pickle.dumps(part, 2) for part in header]
    parts += [state + b"u.", pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", each.size) + each.tobytes() for each in storages.values()]
    return b"".join(parts)


def save_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    tensors = {name: (str(i), 0, array) for i, (name, array) in enumerate(arrays.items())}
    return save(tensors, {key: array.reshape(-1) for key, _, array in tensors.values()})


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
    transposed = numbers[2:14].reshape(3, 4).T
    tensors = {"a": ("7", 2, transposed), "b": ("7", 0, numbers)}
    found = decode_checkpoint(save(tensors, {"7": numbers}), "weights.pt")
    np.testing.assert_array_equal(found["a"], transposed)
    np.testing.assert_array_equal(found["b"], numbers)


def test_a_tensor_beyond_its_storage_is_refused_instead_of_reading_other_memory() -> None:
    numbers = np.zeros(6, np.float32)
    for offset, view in (
        (1, numbers.reshape(2, 3)),
        (-1, numbers),
        (0, np.lib.stride_tricks.as_strided(numbers, (3,), (12,))),
        (0, np.broadcast_to(numbers[:1], (10**9,))),
    ):
        with pytest.raises(UserError, match=r"weights.pt: .*(size of buffer|than its storage)"):
            decode_checkpoint(save({"layer": ("0", offset, view)}, {"0": numbers}), "weights.pt")


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
