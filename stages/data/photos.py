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

# What cameras, phones and the web make; Pillow decodes these in C, in seconds if they are large.
PHOTO_FORMATS = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]
with contextlib.suppress(ImportError):  # a plugin of Pillow, for who has it
    import pillow_heif

    pillow_heif.register_heif_opener()
    PHOTO_FORMATS.append("HEIF")

# What Pillow warns of, and what a photo of some kilobytes can fill the memory with.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
# It warns of such, which are refused here, and of metadata that are damaged.
warnings.filterwarnings("ignore", module=r"PIL\.")
BACKGROUND = (255, 255, 255)  # shows where a photo is transparent: white, as on a page
# A photo is brought near its size by means that are faster: averages of whole pixels, of which
# bicubic interpolation then still has so many a pixel. By 3, Pillow says, nothing is to be seen.
GAP = 3
STRIP = 1_000_000  # pixels that are put on the background at once
# A JPEG of some kilobytes can have thousands, each of which takes as long as a photo; libtiff
# allows as many. Cameras and programs write up to ten.
MOST_SCANS, SCAN = 100, b"\xff\xda"
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of TIFF
NOT_RUN = ("EPS",)  # a program in PostScript, for which Pillow calls Ghostscript
# In folders these are photos, whatever this Pillow has plugins for; it registers films, too.
PHOTO_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".jpf", ".jpx"),
        *(".heic", ".heif", ".hif", ".avif", ".webp", ".png", ".apng", ".gif", ".tif", ".tiff"),
        *(".bmp", ".dib", ".ico", ".tga", ".psd", ".qoi", ".pbm", ".pgm", ".ppm", ".pnm"),
    )
)
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # brands, bytes 8 to 11


def read_photo(
    content: bytes,
    side: int,
    most_pixels: int = MOST_PIXELS,
    formats: list[str] | None = None,
) -> np.ndarray:
    """The photo in a file's content, whole, as a square.

    It is turned as its EXIF says, shown on white where it is transparent, and the first one of an
    animation. 16 bits a color become 8 by dropping the lower ones; floats from 0 to 1, and whole
    numbers up to 255 or 65,535, are brought to 0 to 255.

    Args:
        content: of a file.
        side: of the square in pixels.
        most_pixels: that a photo may have.
        formats: that are read, as Pillow names them; by default all that it reads.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        UserError: it is no photo: what it is.
    """
    reading = _reading(content, most_pixels, formats)
    with reading, Image.open(BytesIO(content), formats=formats) as photo:
        _check(photo, most_pixels)
        if photo.format in ("JPEG", "MPO") and content.count(SCAN) > MOST_SCANS:
            raise UserError(f"has more than {MOST_SCANS} scans; allowed: up to {MOST_SCANS}")
        photo.draft(None, (GAP * side, GAP * side))  # a JPEG is decoded at half its size or less
        shown = _colors(photo)
        photo.close()  # as its pixels are in memory, too
        ImageOps.exif_transpose(shown, in_place=True)
        return np.asarray(square(_nearer(shown, side), side))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a photo in pixels, without reading all of it.

    Raises:
        UserError: it is no photo: what it is.
    """
    with path.open("rb") as file:
        beginning = file.read(100)
    with _reading(beginning, MOST_PIXELS, None), Image.open(path) as photo:
        _check(photo, MOST_PIXELS)
        return photo.size


@contextlib.contextmanager
def _reading(content: bytes, most_pixels: int, formats: list[str] | None) -> Iterator[None]:
    """What Pillow fails with becomes a clause on the file.

    Args:
        content: of the file, or its beginning.
        most_pixels: that are allowed.
        formats: that are allowed.
    """
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(_what_it_is(content, formats)) from None
    except Image.DecompressionBombError:
        what = f"has more than {2 * MOST_PIXELS:,} pixels"
        raise UserError(f"{what}; allowed: up to {most_pixels:,}") from None
    except Exception as error:  # each of Pillow's plugins has its own of damaged files
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"is truncated or damaged ({why[:200]})") from error


def _what_it_is(content: bytes, formats: list[str] | None) -> str:
    """Of a file that Pillow does not know."""
    allowed = ", ".join(formats) if formats else "JPEG, PNG, WebP and what Pillow reads"
    if not content:
        return "is empty"
    if content[4:8] == b"ftyp" and content[8:12] in HEIC:
        return "is HEIC, which the package pillow-heif reads; install it, or convert the photo"
    if b"<svg" in content[:1000]:
        return f"is SVG, a drawing and no photo; allowed: {allowed}"
    return f"is no photo of a format that is known; allowed: {allowed}"


def _check(photo: Image.Image, most_pixels: int) -> None:
    """Refuse what is not to be decoded.

    Raises:
        UserError: it has no pixels or too many, or is a program.
    """
    width, height = photo.size
    if photo.format in NOT_RUN:
        raise UserError(f"is {photo.format}, a program, which is not run; convert it to PNG")
    if not width * height:
        raise UserError(f"has no pixels: {width} x {height}")
    tags = getattr(photo, "tag_v2", {})  # of TIFF, whose tiles may be larger than the photo
    tile = tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)
    for what, (width, height) in (("", photo.size), ("a tile of ", tile)):
        if width * height > most_pixels:
            has = f"has {what}{width:,} x {height:,} pixels"
            raise UserError(f"{has}; allowed: up to {most_pixels:,} in all")


def _colors(photo: Image.Image) -> Image.Image:
    """The photo in red, green and blue of 8 bits, on the background where it is transparent."""
    if photo.mode.startswith(("I", "F")):
        return _with_info(Image.fromarray(_in_8_bits(np.asarray(photo))).convert("RGB"), photo)
    if not photo.has_transparency_data:
        return photo.convert("RGB")
    photo.load()
    # In strips, as whole pictures of each step took 0.8 GiB for 50 megapixels.
    shown = Image.new("RGB", photo.size)
    rows = max(STRIP // photo.width, 1)
    for top in range(0, photo.height, rows):
        strip = photo.crop((0, top, photo.width, min(top + rows, photo.height))).convert("RGBA")
        background = Image.new("RGBA", strip.size, BACKGROUND)
        shown.paste(Image.alpha_composite(background, strip).convert("RGB"), (0, top))
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
