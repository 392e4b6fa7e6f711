"""Changed copies of images that show the same: how far does a model hold out without new data?"""

from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance

BRIGHTNESS_AND_CONTRAST = 0.2  # a fifth more and a fifth less
JPEG_QUALITY = 50
# Severity 1 of "gaussian noise" in CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019), as a share of
# the full range of a pixel.
NOISE_STD = 0.04
SEED = 0


def perturbed(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Copies of images in which a person sees the same, made one after the other.

    Args:
        images: uint8 [n, side, side, 3].

    Yields:
        Name and images, of the same shape: mirrored; brighter, darker, more_contrast, less_contrast
        (as Pillow's ImageEnhance means them); shifted by a pixel, the images in turn to the left,
        the right, up and down; jpeg, compressed; noise, gaussian.
    """
    more, less = 1 + BRIGHTNESS_AND_CONTRAST, 1 - BRIGHTNESS_AND_CONTRAST
    yield "mirrored", images[:, :, ::-1]
    yield "brighter", _each(images, lambda photo: ImageEnhance.Brightness(photo).enhance(more))
    yield "darker", _each(images, lambda photo: ImageEnhance.Brightness(photo).enhance(less))
    yield "more_contrast", _each(images, lambda photo: ImageEnhance.Contrast(photo).enhance(more))
    yield "less_contrast", _each(images, lambda photo: ImageEnhance.Contrast(photo).enhance(less))
    yield "shifted", _shifted(images)
    yield "jpeg", _each(images, _compressed)
    yield "noise", _noisy(images)


def _each(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _shifted(images: np.ndarray) -> np.ndarray:
    """Each image shifted by a pixel; the pixels at the edge that comes in are repeated."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    shifted = images.copy()
    for turn, (down, right) in enumerate(((1, 2), (1, 0), (2, 1), (0, 1))):
        shifted[turn::4] = padded[turn::4, down : down + height, right : right + width]
    return shifted


def _compressed(photo: Image.Image) -> Image.Image:
    file = BytesIO()
    photo.save(file, format="JPEG", quality=JPEG_QUALITY)
    return Image.open(file)


def _noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(SEED).normal(0, 255 * NOISE_STD, images.shape)
    noisy: np.ndarray = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    return noisy
