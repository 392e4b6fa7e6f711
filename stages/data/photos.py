"""Photos as arrays: any file that Pillow reads becomes a square of colors."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stages.data.errors import UserError
from stages.data.resizing import square


def read_photo(content: bytes, side: int) -> np.ndarray:
    """The photo in a file's content, whole, as a square.

    Args:
        content: of a file of any format that Pillow reads.
        side: of the square in pixels.

    Returns:
        uint8 [side, side, 3], RGB.

    Raises:
        UserError: it is no photo: what it is.
    """
    try:
        with Image.open(BytesIO(content)) as photo:
            upright = ImageOps.exif_transpose(photo).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"is no photo that can be read ({error})") from error
    return np.asarray(square(upright, side))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a photo in pixels, without reading all of it.

    Raises:
        UserError: it is no photo: what it is.
    """
    try:
        with Image.open(path) as photo:
            return photo.size
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"is no photo that can be read ({error})") from error
