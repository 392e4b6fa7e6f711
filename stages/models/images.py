"""What a model takes: one check, whatever the model, and one sentence on what it cannot take."""

import numpy as np

from stages.data.errors import UserError


def checked_images(images: np.ndarray, side: int) -> np.ndarray:
    """The images, if they are uint8 [n, side, side, 3] and there is one.

    Raises:
        UserError: they are not: what they are, what is allowed, what to do.
    """
    shape_of_one = (side, side, 3)
    array = f"an array uint8 [n, {side}, {side}, 3]"
    allowed = f"{array} of at least one image, its colors from 0 to 255"
    if not isinstance(images, np.ndarray):
        given, todo = type(images).__name__, "np.array(images, np.uint8) may make one"
        raise UserError(f"images: a {given} is not allowed; allowed: {allowed}; {todo}")
    shape, given = images.shape, f"{images.dtype} {list(images.shape)}"
    if shape[1:] == shape_of_one and len(images) and images.dtype == np.uint8:
        return images
    if shape == shape_of_one:
        todo = "give a single image as images[None]"
    elif shape[1:] == (side, side, 4):
        todo = "drop the fourth channel with images[..., :3]"
    elif shape[1:] != shape_of_one:
        todo = f"bring each to {side} x {side} pixels of red, green and blue"
    elif not len(images):
        todo = "give at least one"
    elif images.dtype.kind in "iuf" and np.isfinite(images).all():
        given += f" from {images.min():g} to {images.max():g}"
        todo = "(images * 255).round().astype(np.uint8) if they are in [0, 1]"
    else:
        todo = "give whole numbers from 0 to 255, none missing or infinite, as np.uint8"
    raise UserError(f"images: {given} is not allowed; allowed: {allowed}; {todo}")
