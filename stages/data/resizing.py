"""Images of another size."""

import numpy as np
from PIL import Image

from stages.data.room import room


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Images of another size, bicubic, with antialiasing where they become smaller.

    Args:
        images: uint8 [n, any, any, 3].
        side: of the results in pixels.

    Returns:
        uint8 [n, side, side, 3]; the very array if they have that size already.
    """
    if images.shape[1:3] == (side, side):
        return images
    made = room((len(images), side, side, 3), np.uint8)
    for position, image in enumerate(images):
        made[position] = np.asarray(square(Image.fromarray(image), side))
    return made


def square(photo: Image.Image, side: int) -> Image.Image:
    """A photo, whole, as a square with so many pixels a side."""
    return photo.resize((side, side), Image.Resampling.BICUBIC)
