"""Augmentation changes the picture a little, and never what it shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stages.models.cnn import augment

SHIFT = 2
IMAGES = st.sampled_from([np.uint8, np.float32]).flatmap(
    lambda dtype: npst.arrays(
        dtype,
        st.tuples(st.integers(0, 4), st.integers(4, 7), st.integers(4, 7), st.integers(1, 3)),
        elements=st.integers(0, 255),
    )
)
SEEDS = st.integers(0, 2**32)


def variants(image: np.ndarray, shift: int, *, mirror: bool) -> list[np.ndarray]:
    """All that `augment` may make of an image, pixel by pixel from the definition."""

    def reflected(size: int, by: int) -> np.ndarray:
        inside = np.abs(np.arange(size) + by)
        return np.minimum(inside, 2 * (size - 1) - inside)

    steps = range(-shift, shift + 1)
    shifted = [
        image[reflected(len(image), down)][:, reflected(image.shape[1], right)]
        for down in steps
        for right in steps
    ]
    if not mirror:
        return shifted
    mirrored = image[:, ::-1]
    return shifted + variants(mirrored, shift, mirror=False)


@settings(max_examples=40, deadline=None)
@given(IMAGES, SEEDS)
def test_switched_off_it_leaves_every_image_as_it_is(images: np.ndarray, seed: int) -> None:
    found = augment(images, np.random.default_rng(seed), mirror=False, shift=0)
    np.testing.assert_array_equal(found, images, strict=True)


@settings(max_examples=60, deadline=None)
@given(IMAGES, SEEDS, st.booleans(), st.integers(0, SHIFT))
def test_each_image_becomes_a_mirrored_or_shifted_version_of_itself_and_keeps_its_place(
    images: np.ndarray,
    seed: int,
    mirror: bool,
    shift: int,
) -> None:
    before = images.copy()
    found = augment(images, np.random.default_rng(seed), mirror=mirror, shift=shift)
    assert found.dtype == images.dtype
    assert found.shape == images.shape
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(images, before)
    for image, changed in zip(images, found, strict=True):
        allowed = variants(image, shift, mirror=mirror)
        assert any(np.array_equal(changed, variant) for variant in allowed)


@settings(max_examples=40, deadline=None)
@given(IMAGES, SEEDS)
def test_the_same_seed_gives_the_same_images(images: np.ndarray, seed: int) -> None:
    first, second = (
        augment(images, np.random.default_rng(seed), mirror=True, shift=SHIFT) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@settings(max_examples=40, deadline=None)
@given(IMAGES.filter(len), SEEDS, st.data())
def test_what_happens_to_an_image_does_not_depend_on_the_others(
    images: np.ndarray, seed: int, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(images) - 1))
    others = np.zeros_like(images)
    others[kept] = images[kept]
    among, alone = (
        augment(batch, np.random.default_rng(seed), mirror=True, shift=SHIFT)
        for batch in (images, others)
    )
    np.testing.assert_array_equal(among[kept], alone[kept])


@pytest.mark.parametrize("mirror", [False, True])
def test_every_shift_and_both_sides_are_equally_likely(mirror: bool) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(1, 6, 8, 1)
    images = np.repeat(image, 5000, axis=0)
    found = augment(images, np.random.default_rng(0), mirror=mirror, shift=1)
    allowed = {variant.tobytes() for variant in variants(image[0], 1, mirror=mirror)}
    assert len(allowed) == (18 if mirror else 9)
    counts = dict.fromkeys(allowed, 0)
    for changed in found:
        counts[changed.tobytes()] += 1
    expected = len(images) / len(allowed)
    assert max(abs(count - expected) for count in counts.values()) < 5 * np.sqrt(expected)


def test_seeds_differ() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    first, second = (
        augment(images, np.random.default_rng(seed), mirror=True, shift=SHIFT) for seed in (0, 1)
    )
    assert (first != second).any()
