"""The baseline is plain least squares: what the lecture's numbers are compared with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.data.errors import UserError
from stages.models.baseline import (
    LeastSquaresClassifier,
    fit_least_squares,
    gray_pixels,
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


def test_a_stored_baseline_answers_bit_for_bit_the_same(
    fitted: LeastSquaresClassifier, tmp_path: Path
) -> None:
    images, _ = draw(100, len(fitted.classes), seed=4)
    classifier = replace(fitted, temperature=0.3)
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
