"""Whether what is said of probabilities is true of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import Logit, add_constant

from stages.evaluate import accuracy_when, when_sure
from stages.models.temperature import best_temperature, probabilities
from stages.statistics.classification import (
    BINS,
    CALIBRATED,
    calibration_slope,
    classification_metrics,
    coverage,
    expected_calibration_error,
    least_confidence,
    training_metrics,
)


def of_two(second: list[float] | np.ndarray) -> np.ndarray:
    return np.column_stack([1 - np.array(second), second])


def drawn(slope: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities of a model whose log-odds are `1 / slope` of the true ones."""
    generator = np.random.default_rng(seed)
    true = generator.normal(0, 2, n)
    labels = (generator.random(n) < 1 / (1 + np.exp(-true))).astype(int)
    return labels, of_two(1 / (1 + np.exp(-true / slope)))


def test_a_worked_example_of_the_calibration_error() -> None:
    # Bins of 1/15: 0.90 and 0.92 fall in (0.867, 0.933], one of two right: gap 0.91 - 0.5, twice;
    # 0.55 and 0.60, the upper edge of (0.533, 0.6], both right: gap 1 - 0.575, twice.
    labels = np.array([1, 0, 1, 0])
    probabilities = of_two([0.90, 0.92, 0.60, 0.45])
    expected = (2 * (0.91 - 0.5) + 2 * (1 - 0.575)) / 4
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def naive(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Equation 3 of Guo et al., 2017, image by image."""
    total = 0.0
    for number in range(BINS):
        inside = []
        for label, row in zip(labels, probabilities, strict=True):
            if number / BINS < max(row) <= (number + 1) / BINS:
                inside.append((float(np.argmax(row) == label), max(row)))
        if inside:
            accuracy, confidence = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(1, 200), st.integers(0, 10**6))
def test_the_calibration_error_is_that_of_the_definition(n_classes: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(n_classes, 0.3), n)
    labels = generator.integers(0, n_classes, n)
    found = expected_calibration_error(labels, probabilities)
    assert found == pytest.approx(naive(labels, probabilities), abs=1e-12)
    adaptive = expected_calibration_error(labels, probabilities, adaptive=True)
    assert 0 <= adaptive <= 1


def test_bins_of_equally_many_images_see_what_one_wide_bin_hides() -> None:
    # All in the bin (0.8, 0.867], where 500 too unsure (by 0.18) hide 500 too sure (by 0.18).
    labels = np.repeat([1, 1, 0], [500, 335, 165])
    probabilities = of_two(np.repeat([0.82, 0.85], [500, 500]))
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0, abs=1e-9)
    adaptive = expected_calibration_error(labels, probabilities, adaptive=True)
    assert adaptive > 0.17


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.8])
def test_the_calibration_slope_is_that_of_statsmodels(slope: float) -> None:
    labels, probabilities = drawn(slope)
    log_odds = np.log(probabilities[:, 1] / probabilities[:, 0])
    expected = Logit(labels, add_constant(log_odds)).fit(disp=0, tol=1e-12).params[1]
    found = calibration_slope(labels, probabilities)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(slope, rel=0.1)


def test_with_three_classes_the_slope_is_the_mean_of_each_against_the_rest() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.dirichlet([1, 1, 1], 3000)
    labels = np.array([generator.choice(3, p=row) for row in probabilities])
    expected = []
    for number in range(3):
        own = probabilities[:, number]
        fitted = Logit(labels == number, add_constant(np.log(own / (1 - own)))).fit(disp=0)
        expected.append(fitted.params[1])
    found = calibration_slope(labels, probabilities)
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_no_slope_is_invented_where_none_is_the_best() -> None:
    labels = np.array([0, 0, 1, 1])
    assert calibration_slope(labels, of_two([0.1, 0.4, 0.6, 0.9])) is None
    assert calibration_slope(labels, of_two([0.1, 0.5, 0.5, 0.9])) is None, "they meet in a point"
    assert calibration_slope(labels, of_two([0.1, 0.6, 0.4, 0.9])) is not None


def test_sure_answers_have_log_odds() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    slope = calibration_slope(labels, of_two([0.0, 1.0, 1.0, 0.0, 0.7, 0.2]))
    assert slope is not None
    assert np.isfinite(slope)


def test_a_limit_is_not_chosen_on_a_handful_of_images() -> None:
    labels, confidence = np.zeros(10, int), np.linspace(0.99, 0.9, 10)
    probabilities = np.column_stack([confidence, 1 - confidence])
    probabilities[6:] = probabilities[6:, ::-1]  # the four least sure are wrong
    assert least_confidence(labels, probabilities, 0.99) == confidence[5]
    assert least_confidence(labels, probabilities, 0.99, at_least=6) == confidence[5]
    assert least_confidence(labels, probabilities, 0.99, at_least=7) is None
    assert least_confidence(labels, probabilities, 0.6, at_least=7) == confidence[9]


def test_what_a_limit_is_worth_is_measured_on_images_that_it_was_not_chosen_on() -> None:
    right, confidence = np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.6])
    assert when_sure(right, confidence, 0.8) == {"share_sure": 0.5, "accuracy_when_sure": 0.5}
    assert when_sure(right, confidence, 0.95) == {"share_sure": 0.0}
    assert when_sure(right, confidence, None) == {"share_sure": 0.0}


def test_an_accuracy_on_no_image_is_left_out_not_nan() -> None:
    """As where all test images nearly repeat a training image: JSON has no NaN."""
    right = np.array([True, False])
    assert accuracy_when(right, np.array([True, False]), "x") == {"accuracy_x": 1.0}
    assert accuracy_when(right, np.array([False, False]), "x") == {}
    assert accuracy_when(right, None, "x") == {}


def test_a_worked_example_of_coverage() -> None:
    # By confidence: right, right, wrong, right, right: 2 of 2, 2 of 3, 3 of 4, 4 of 5.
    labels = np.array([1, 1, 0, 1, 1])
    probabilities = of_two([0.99, 0.95, 0.9, 0.8, 0.7])
    assert coverage(labels, probabilities, 1.0) == 2 / 5
    assert coverage(labels, probabilities, 0.8) == 1.0
    assert coverage(labels, probabilities, 0.99) == 2 / 5
    assert coverage(np.array([0]), of_two([0.9]), 0.5) == 0.0


def test_images_of_one_confidence_are_answered_together() -> None:
    labels, probabilities = np.array([1, 1, 0]), of_two([0.9, 0.9, 0.9])
    assert coverage(labels, probabilities, 0.99) == 0.0
    assert coverage(labels, probabilities, 2 / 3) == 1.0


def scores_of(slope: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model that is `1 / slope` times as sure as it should be, and labels."""
    labels, of_classes = drawn(slope, n, seed)
    return np.log(of_classes), labels


@pytest.mark.parametrize("slope", [0.3, 1.0, 4.0])
def test_the_temperature_is_the_one_that_is_true(slope: float) -> None:
    scores, labels = scores_of(slope, 20_000)
    temperature = best_temperature(scores, labels)
    assert temperature == pytest.approx(1 / slope, rel=0.05)
    calibrated = probabilities(scores, temperature)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), scores.argmax(axis=1))
    fresh, others = scores_of(slope, 20_000, seed=1)
    found = calibration_slope(others, probabilities(fresh, temperature))
    assert found == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("n", [2, 20, 200])
def test_a_few_images_that_are_all_right_do_not_make_a_model_infinitely_sure(n: int) -> None:
    labels = np.arange(n) % 2
    scores = np.where(labels[:, None] == [0, 1], 3.0, -3.0)
    # Platt's targets: as sure as n / 2 images of a class allow.
    wanted = (n / 2 + 1) / (n / 2 + 2)
    confidence = probabilities(scores, best_temperature(scores, labels)).max(axis=1)
    np.testing.assert_allclose(confidence, wanted, rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4), st.floats(-4, 4))
def test_the_temperature_never_raises_the_loss_by_much(
    seed: int, n_classes: int, log_scale: float
) -> None:
    generator = np.random.default_rng(seed)
    scores = np.exp(log_scale) * generator.normal(size=(400, n_classes))
    labels = np.arange(400) % n_classes

    def log_loss(temperature: float) -> float:
        return float(-np.log(probabilities(scores, temperature)[np.arange(400), labels]).mean())

    assert log_loss(best_temperature(scores, labels)) <= log_loss(1.0) + 1e-3


def test_what_the_temperature_was_chosen_on_is_not_measured_there() -> None:
    train, validation = drawn(1.0, 300), drawn(1.0, 100, seed=1)
    measured = training_metrics(train=train, validation=validation)
    assert measured["train"] == classification_metrics(*train)
    everything = classification_metrics(*validation)
    assert everything.keys() - measured["validation"].keys() == {*CALIBRATED}
    assert measured["validation"].items() <= everything.items()
