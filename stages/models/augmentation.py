"""Random changes of training images that leave the class what it is."""

import numpy as np


def augment(
    images: np.ndarray, generator: np.random.Generator, *, mirror: bool, shift: int
) -> np.ndarray:
    """Mirror and shift images at random.

    Args:
        images: [n, height, width, channels], any dtype.
        generator: source of the randomness.
        mirror: whether each image is mirrored left to right with probability one half.
        shift: largest shift in pixels, up, down, left and right; what moves in from outside is the
            image itself, reflected at its edge.

    Returns:
        A new array of the same shape and dtype.
    """
    n, height, width, _ = images.shape
    if mirror:
        flip: np.ndarray = generator.random((n, 1, 1, 1)) < 0.5
        images = np.where(flip, images[:, :, ::-1], images)
    if shift:
        frame = ((0, 0), (shift, shift), (shift, shift), (0, 0))
        padded = np.pad(images, frame, mode="reflect")
        top, left = generator.integers(0, 2 * shift + 1, size=(2, n))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        images = np.moveaxis(windows[np.arange(n), top, left], 1, -1)
    return np.ascontiguousarray(images)
