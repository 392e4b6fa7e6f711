"""A changed photo still shows the same, and each change is what its name says."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from stages.data.perturbations import JPEG_QUALITY, NOISE_STD
from stages.data.perturbations import perturbed as one_by_one

PHOTOS = np.random.default_rng(1).integers(40, 200, (8, 32, 32, 3), dtype=np.uint8)
GRAY = np.full((8, 32, 32, 3), 100, np.uint8)


def perturbed(images: np.ndarray) -> dict[str, np.ndarray]:
    return dict(one_by_one(images))


def test_nothing_but_pixels_changes_and_the_originals_stay() -> None:
    before = PHOTOS.copy()
    for name, images in perturbed(PHOTOS).items():
        assert images.shape == PHOTOS.shape, name
        assert images.dtype == np.uint8, name
        assert not np.array_equal(images, PHOTOS), name
    np.testing.assert_array_equal(PHOTOS, before)


def test_brightness_is_a_fifth_more_and_less() -> None:
    found = perturbed(GRAY)
    assert (found["brighter"] == 120).all()
    assert (found["darker"] == 80).all()


def test_contrast_keeps_the_mean_and_stretches_around_it() -> None:
    halves = GRAY.copy()
    halves[:, :, 16:] = 150  # mean 125
    found = perturbed(halves)
    assert {*found["more_contrast"].ravel()} == {95, 155}
    assert {*found["less_contrast"].ravel()} == {105, 145}


def test_a_white_photo_does_not_turn_black() -> None:
    white = np.full((4, 32, 32, 3), 255, np.uint8)
    assert (perturbed(white)["brighter"] == 255).all()
    assert perturbed(white)["noise"].min() > 200


def test_each_fourth_photo_goes_another_way_by_one_pixel() -> None:
    found = perturbed(PHOTOS)["shifted"]
    np.testing.assert_array_equal(found[0][:, :-1], PHOTOS[0][:, 1:])
    np.testing.assert_array_equal(found[1][:, 1:], PHOTOS[1][:, :-1])
    np.testing.assert_array_equal(found[2][:-1], PHOTOS[2][1:])
    np.testing.assert_array_equal(found[3][1:], PHOTOS[3][:-1])
    np.testing.assert_array_equal(found[4][:, :-1], PHOTOS[4][:, 1:])
    np.testing.assert_array_equal(found[1][:, 0], PHOTOS[1][:, 0], "the edge is repeated")


def test_mirrored_twice_is_the_photo() -> None:
    np.testing.assert_array_equal(perturbed(perturbed(PHOTOS)["mirrored"])["mirrored"], PHOTOS)


def test_jpeg_is_what_pillow_makes() -> None:
    file = BytesIO()
    Image.fromarray(PHOTOS[3]).save(file, "JPEG", quality=JPEG_QUALITY)
    np.testing.assert_array_equal(perturbed(PHOTOS)["jpeg"][3], np.asarray(Image.open(file)))


def test_noise_is_as_strong_as_it_says_and_always_the_same() -> None:
    noise = perturbed(GRAY)["noise"].astype(float) - 100
    assert noise.std() == pytest.approx(255 * NOISE_STD, rel=0.02)
    assert abs(noise.mean()) < 0.3
    np.testing.assert_array_equal(perturbed(GRAY)["noise"], perturbed(GRAY)["noise"])
