"""The baseline is plain least squares: what the lecture's numbers are compared with."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from stages.data.errors import UserError
from stages.models.baseline import (
    LeastSquaresClassifier,
    fit_least_squares,
    gray_pixels,
    sharpened,
)
from stages.models.loading import load_model
from stages.models.storage import read_model, save_model

N = 1500  # images: more than the 1,025 unknowns, so that the solution is unique


def draw(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a weak stripe that says the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    images = generator.integers(0, 200, (n, 32, 32, 3))
    for label in range(n_classes):
        images[labels == label, 3 * label : 3 * label + 3] += 25
    return images.astype(np.uint8), labels


def names(n: int) -> list[str]:
    return ["automobile", "truck", "cat", "dog"][:n]


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request: pytest.FixtureRequest) -> LeastSquaresClassifier:
    images, labels = draw(N, request.param, seed=0)
    return fit_least_squares(images, labels, names(request.param), ridge=0.0)


def log_loss(classifier: LeastSquaresClassifier, images: np.ndarray, labels: np.ndarray) -> float:
    logs = log_softmax(classifier.sharpness * classifier.scores(images), axis=1)
    return float(-logs[np.arange(len(labels)), labels].mean())


def test_the_fast_solution_is_the_least_squares_solution(fitted: LeastSquaresClassifier) -> None:
    n_classes = len(fitted.classes)
    images, labels = draw(N, n_classes, seed=0)
    gray = images.reshape(N, 1024, 3) @ np.array([0.299, 0.587, 0.114]) / 255
    design = np.hstack([gray, np.ones((N, 1))])
    solution, *_ = np.linalg.lstsq(design, 2.0 * np.eye(n_classes)[labels] - 1, rcond=None)
    np.testing.assert_allclose(fitted.weights, solution[:-1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(fitted.intercept, solution[-1], rtol=0, atol=1e-7)
    others, _ = draw(200, n_classes, seed=1)
    expected = np.hstack([gray_pixels(others), np.ones((200, 1))]) @ solution
    np.testing.assert_array_equal(fitted.predict(others).argmax(1), expected.argmax(1))


def test_it_learns_what_can_be_learned(fitted: LeastSquaresClassifier) -> None:
    images, labels = draw(N, len(fitted.classes), seed=0)
    assert (fitted.predict(images).argmax(1) == labels).mean() > 0.9


def test_probabilities_are_float64_and_sum_to_one(fitted: LeastSquaresClassifier) -> None:
    probabilities = fitted.predict(draw(50, len(fitted.classes), seed=2)[0])
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (50, len(fitted.classes))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_a_ridge_shrinks_the_weights_but_not_the_intercept() -> None:
    images, labels = draw(N, 2, seed=0)
    labels[:300] = 1  # more trucks than cars: an intercept that is not 0
    norms, means = [], []
    for ridge in (0.0, 1.0, 100.0, 1e9):
        classifier = fit_least_squares(images, labels, names(2), ridge)
        norms.append(np.linalg.norm(classifier.weights))
        means.append(classifier.scores(images).mean(axis=0))
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < norms[0] / 1e4
    expected = 2 * np.bincount(labels) / N - 1  # of an intercept without penalty
    np.testing.assert_allclose(means, [expected] * 4, atol=1e-9)


def test_fewer_images_than_pixels_work_with_a_ridge() -> None:
    images, labels = draw(40, 2, seed=0)
    classifier = fit_least_squares(images, labels, names(2), ridge=1.0)
    assert (classifier.predict(images).argmax(1) == labels).all()


def test_calibration_lowers_the_loss_and_changes_no_answer(fitted: LeastSquaresClassifier) -> None:
    images, labels = draw(400, len(fitted.classes), seed=3)
    better = sharpened(fitted, images, labels)
    np.testing.assert_array_equal(
        better.predict(images).argmax(1), fitted.predict(images).argmax(1)
    )
    assert log_loss(better, images, labels) < log_loss(fitted, images, labels)
    for factor in (0.9, 1.1):
        other = LeastSquaresClassifier(
            fitted.classes, fitted.weights, fitted.intercept, better.sharpness * factor
        )
        assert log_loss(better, images, labels) < log_loss(other, images, labels)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4), st.floats(-4, 4))
def test_calibration_never_raises_the_loss(seed: int, n_classes: int, log_scale: float) -> None:
    generator = np.random.default_rng(seed)
    images, labels = draw(20, n_classes, seed)
    weights = np.exp(log_scale) * generator.normal(size=(1024, n_classes)) / 32
    classifier = LeastSquaresClassifier(names(n_classes), weights, np.zeros(n_classes), 1.0)
    better = sharpened(classifier, images, labels)
    assert log_loss(better, images, labels) <= log_loss(classifier, images, labels) + 1e-6


def test_a_stored_baseline_answers_bit_for_bit_the_same(
    fitted: LeastSquaresClassifier, tmp_path: Path
) -> None:
    images, labels = draw(100, len(fitted.classes), seed=4)
    classifier = sharpened(fitted, images, labels)
    save_model(tmp_path / "a.npz", classifier)
    loaded = load_model(tmp_path / "a.npz")
    assert loaded.classes == classifier.classes
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images), strict=True)
    save_model(tmp_path / "b.npz", loaded)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_that_is_no_model_is_a_plain_message(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, images=np.zeros(3))
    with pytest.raises(UserError, match=r"train\.npz: is not a model of this project"):
        read_model(path)


def test_a_model_of_an_unknown_kind_is_a_plain_message(
    fitted: LeastSquaresClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    save_model(path, fitted)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = str(arrays["header.json"]).replace('"baseline"', '"forest"')
    np.savez(path, **{**arrays, "header.json": np.array(header)})
    with pytest.raises(UserError, match=r"is a 'forest'; this version loads baseline, cnn, mobil"):
        load_model(path)


def test_gray_is_the_usual_mixture_of_the_colors() -> None:
    primaries = np.zeros((4, 32, 32, 3), np.uint8)
    for channel in range(3):
        primaries[channel, 5, 7, channel] = 255
    primaries[3, 5, 7] = 255
    gray = gray_pixels(primaries)
    assert gray.dtype == np.float64
    assert gray.shape == (4, 1024)
    np.testing.assert_allclose(gray[:, 5 * 32 + 7], [0.299, 0.587, 0.114, 1.0], rtol=1e-12)
    assert np.count_nonzero(gray) == 4
