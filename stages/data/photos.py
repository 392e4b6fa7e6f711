"""Photos as arrays: any file that Pillow reads becomes a square of colors."""

import contextlib
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.data.errors import UserError
from stages.data.resizing import square

with contextlib.suppress(ImportError):  # a plugin of Pillow, for who has it
    import pillow_heif

    pillow_heif.register_heif_opener()

# What Pillow warns of, and what a photo of some kilobytes can fill the memory with.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
# It warns of such, which are refused here, and of metadata that are damaged.
warnings.filterwarnings("ignore", module=r"PIL\.")
BACKGROUND = (255, 255, 255)  # shows where a photo is transparent: white, as on a page
# A photo is brought near its size by means that are faster: averages of whole pixels, of which
# bicubic interpolation then still has so many a pixel. By 3, Pillow says, nothing is to be seen.
GAP = 3
NOT_RUN = ("EPS",)  # a program in PostScript, for which Pillow calls Ghostscript
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # brands, bytes 8 to 11


def read_photo(content: bytes, side: int) -> np.ndarray:
    """The photo in a file's content, whole, as a square.

    It is turned as its EXIF says, shown on white where it is transparent, and the first one of an
    animation. 16 bits a color become 8 by dropping the lower ones; floats from 0 to 1, and whole
    numbers up to 255 or 65,535, are brought to 0 to 255.

    Args:
        content: of a file of any format that Pillow reads.
        side: of the square in pixels.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        UserError: it is no photo: what it is.
    """
    with _reading(content), Image.open(BytesIO(content)) as photo:
        _check(photo)
        photo.draft(None, (GAP * side, GAP * side))  # a JPEG is decoded at half its size or less
        upright = ImageOps.exif_transpose(_colors(photo))
        return np.asarray(square(_nearer(upright, side), side))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a photo in pixels, without reading all of it.

    Raises:
        UserError: it is no photo: what it is.
    """
    with path.open("rb") as file:
        beginning = file.read(100)
    with _reading(beginning), Image.open(path) as photo:
        _check(photo)
        return photo.size


@contextlib.contextmanager
def _reading(content: bytes) -> Iterator[None]:
    """What Pillow fails with becomes a clause on the file.

    Args:
        content: of the file, or its beginning.
    """
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(_what_it_is(content)) from None
    except Image.DecompressionBombError:
        what = f"has more than {2 * MOST_PIXELS:,} pixels"
        raise UserError(f"{what}; allowed: up to {MOST_PIXELS:,}") from None
    except Exception as error:  # each of Pillow's plugins has its own of damaged files
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"is truncated or damaged ({why[:200]})") from error


def _what_it_is(content: bytes) -> str:
    """Of a file that Pillow does not know."""
    if not content:
        return "is empty"
    if content[4:8] == b"ftyp" and content[8:12] in HEIC:
        return "is HEIC, which the package pillow-heif reads; install it, or convert the photo"
    if b"<svg" in content[:1000]:
        return "is SVG, a drawing and no photo; allowed: JPEG, PNG, WebP and what Pillow reads"
    return "is no photo of a format that is known; allowed: JPEG, PNG, WebP and what Pillow reads"


def _check(photo: Image.Image) -> None:
    """Refuse what is not to be decoded.

    Raises:
        UserError: it has no pixels or too many, or is a program.
    """
    width, height = photo.size
    if photo.format in NOT_RUN:
        raise UserError(f"is {photo.format}, a program, which is not run; convert it to PNG")
    if not width * height:
        raise UserError(f"has no pixels: {width} x {height}")
    if width * height > MOST_PIXELS:
        what = f"has {width:,} x {height:,} pixels"
        raise UserError(f"{what}; allowed: up to {MOST_PIXELS:,} in all")


def _colors(photo: Image.Image) -> Image.Image:
    """The photo in red, green and blue of 8 bits, on the background where it is transparent."""
    if photo.mode.startswith(("I", "F")):
        return _with_info(Image.fromarray(_in_8_bits(np.asarray(photo))).convert("RGB"), photo)
    if not photo.has_transparency_data:
        return photo.convert("RGB")
    background = Image.new("RGBA", photo.size, BACKGROUND)
    shown = Image.alpha_composite(background, photo.convert("RGBA")).convert("RGB")
    return _with_info(shown, photo)


def _with_info(made: Image.Image, photo: Image.Image) -> Image.Image:
    """An image made of a photo, with what that knows of itself, as how it is to be turned."""
    made.info = dict(photo.info)
    return made


def _in_8_bits(values: np.ndarray) -> np.ndarray:
    """Brightness as uint8, of any numbers: the range is what they may fill, not what they do.

    Raises:
        UserError: they are not in a range that is known.
    """
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 0xFFFF):  # nor if any is not a number
        what = f"has pixels from {low:g} to {high:g}"
        raise UserError(f"{what}; allowed: floats from 0 to 1, whole numbers from 0 to 65,535")
    if values.dtype.kind == "f" and high <= 1:
        values = (values * 255).round()
    elif values.dtype == np.uint16 or high > 0xFF:
        values = values.astype(np.uint16) >> 8
    return values.astype(np.uint8)


def _nearer(photo: Image.Image, side: int) -> Image.Image:
    """A photo that is much too large, made smaller by whole factors."""
    factors = [max(length // (GAP * side), 1) for length in photo.size]
    return photo if factors == [1, 1] else photo.reduce((factors[0], factors[1]))
