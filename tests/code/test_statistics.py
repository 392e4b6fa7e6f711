"""The numbers in the comparison table are the ones that their names promise."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import binomtest, bootstrap, ttest_1samp, ttest_rel
from sklearn.metrics import brier_score_loss
from statsmodels.stats.multitest import multipletests

from stages.models.network import class_scores, output_units
from stages.models.temperature import probabilities
from stages.statistics.classification import classification_metrics
from stages.statistics.intervals import wilson
from stages.statistics.paired import (
    RESAMPLES,
    PairedDifference,
    brier_scores,
    holm,
    mcnemar,
    paired_comparison,
    paired_difference,
)
from stages.statistics.roc import roc_points

NAMES = {
    *("accuracy", "balanced_accuracy", "precision", "recall", "f1"),
    *("roc_auc", "log_loss", "brier", "accuracy_ci_low", "accuracy_ci_high"),
    *("ece", "adaptive_ece", "calibration_slope", "coverage_at_99"),
}
# They have tests of their own, in test_calibration.py.
OF_CALIBRATION = {"ece", "adaptive_ece", "calibration_slope", "coverage_at_99"}
INTERVAL = {"accuracy_ci_low", "accuracy_ci_high"}


def only(found: dict[str, float], names: dict[str, float]) -> dict[str, float]:
    return {name: found[name] for name in names}


def of_two(second: list[float]) -> np.ndarray:
    return np.column_stack([1 - np.array(second), second])


def test_a_worked_example_with_two_classes() -> None:
    # Answers 0 0 1 1 1: four of five right; of three cars two are found, of two trucks both; of
    # three answers "truck" two are right. Of the 3 x 2 pairs of a car and a truck only (0.7, 0.6)
    # is in the wrong order.
    found = classification_metrics(np.array([0, 0, 0, 1, 1]), of_two([0.1, 0.3, 0.7, 0.9, 0.6]))
    own = np.array([0.9, 0.7, 0.3, 0.9, 0.6])  # what was given to the right class
    expected = {
        "accuracy": 4 / 5,
        "balanced_accuracy": (2 / 3 + 2 / 2) / 2,
        "precision": 2 / 3,
        "recall": 2 / 2,
        "f1": 2 * (2 / 3) / (2 / 3 + 1),
        "roc_auc": 5 / 6,
        "log_loss": -np.log(own).sum() / 5,  # 0.456439
        "brier": (0.01 + 0.09 + 0.49 + 0.01 + 0.16) / 5,
    }
    assert only(found, expected) == pytest.approx(expected, abs=1e-12)
    assert found.keys() - expected.keys() <= OF_CALIBRATION | INTERVAL
    assert found["log_loss"] == pytest.approx(0.456439, abs=1e-6)


def test_a_worked_example_with_three_classes() -> None:
    # Answers 0 1 0 1. By class: precision 1/2, 1/2, 0 (never answered); recall 1/2, 1, 0; f1 1/2,
    # 2/3, 0. Area against the rest: 2 of 4 pairs; 3 of 3; 2 of 3 and a tie.
    given_probabilities = np.array(
        [[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.3, 0.4, 0.3]]
    )
    expected = {
        "accuracy": 2 / 4,
        "balanced_accuracy": (1 / 2 + 1 + 0) / 3,
        "precision": (1 / 2 + 1 / 2 + 0) / 3,
        "recall": (1 / 2 + 1 + 0) / 3,
        "f1": (1 / 2 + 2 / 3 + 0) / 3,
        "roc_auc": (2 / 4 + 3 / 3 + 2.5 / 3) / 3,
        "log_loss": -np.log([0.5, 0.7, 0.3, 0.3]).sum() / 4,
        "brier": ((0.25 + 0.09 + 0.04) + (0.04 + 0.09 + 0.01) + (0.36 + 0.01 + 0.49) + 0.74) / 4,
    }
    found = classification_metrics(np.array([0, 1, 2, 0]), given_probabilities)
    assert only(found, expected) == pytest.approx(expected, abs=1e-12)
    assert found.keys() - expected.keys() <= OF_CALIBRATION | INTERVAL


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_perfect_answers_get_the_best_of_every_measure(n_classes: int) -> None:
    labels = np.arange(4 * n_classes) % n_classes
    found = classification_metrics(labels, np.eye(n_classes)[labels])
    assert NAMES - set(found) == {"calibration_slope"}, "none is the best of perfect answers"
    assert found.pop("accuracy_ci_low") < 1.0
    lowest = dict.fromkeys(("log_loss", "brier", "ece", "adaptive_ece"), 0.0)
    assert found == pytest.approx({**dict.fromkeys(found, 1.0), **lowest}, abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_the_worst_answers_get_the_worst_of_every_measure_and_none_is_infinite(
    n_classes: int,
) -> None:
    labels = np.arange(4 * n_classes) % n_classes
    wrong = np.eye(n_classes)[(labels + 1) % n_classes]
    found = classification_metrics(labels, wrong)
    assert all(np.isfinite(value) for value in found.values())
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1"):
        assert found[name] == 0.0
    assert found["roc_auc"] < 0.5
    assert found["log_loss"] == pytest.approx(-np.log(1e-15))
    assert found["brier"] == pytest.approx(1.0 if n_classes == 2 else 2.0)


@st.composite
def answers(draw: st.DrawFn, n_classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels, every class among them, and probabilities with ties and zeros."""
    n_classes = n_classes or draw(st.integers(2, 5))
    n = draw(st.integers(n_classes, 25))
    labels = draw(npst.arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    labels[:n_classes] = np.arange(n_classes)
    weights = draw(npst.arrays(np.float64, (n, n_classes), elements=st.integers(0, 6)))
    weights[weights.sum(axis=1) == 0] = 1
    return labels, weights / weights.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(answers())
def test_every_measure_stays_in_its_range(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = classification_metrics(*pair)
    assert NAMES - set(found) <= {"calibration_slope"}
    assert all(type(value) is float for value in found.values())
    assert 0 <= found.pop("log_loss") <= -np.log(1e-15)
    assert 0 <= found.pop("brier") <= 2
    found.pop("calibration_slope", None)
    assert found["accuracy_ci_low"] <= found["accuracy"] <= found["accuracy_ci_high"]
    assert all(0 <= value <= 1 for value in found.values())


@settings(max_examples=60, deadline=None)
@given(answers())
def test_the_roc_curve_rises_from_corner_to_corner(pair: tuple[np.ndarray, np.ndarray]) -> None:
    curve = roc_points(*pair)
    assert list(curve.columns) == ["false_positive_rate", "true_positive_rate"]
    assert curve.iloc[0].tolist() == [0.0, 0.0]
    assert curve.iloc[-1].tolist() == pytest.approx([1.0, 1.0])
    assert (np.diff(curve, axis=0) >= -1e-12).all()


@settings(max_examples=60, deadline=None)
@given(answers(n_classes=2))
def test_the_area_under_the_drawn_curve_is_the_reported_one(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    curve = roc_points(*pair)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(classification_metrics(*pair)["roc_auc"], abs=1e-9)


LOGITS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=80, deadline=None)
@given(npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2), elements=LOGITS))
@example(np.array([[0, 1e-45, 0]], np.float32))
def test_probabilities_sum_to_one_whatever_a_network_says(logits: np.ndarray) -> None:
    found = probabilities(class_scores(logits), 1.0)
    n_classes = 2 if logits.shape[1] == 1 else logits.shape[1]
    assert found.shape == (len(logits), n_classes)
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    if n_classes > 2:
        # Logits that differ by less than a float64 shows may get the same probability.
        of_the_highest = found[np.arange(len(logits)), logits.argmax(axis=1)]
        np.testing.assert_array_equal(of_the_highest, found.max(axis=1))


def test_a_single_unit_speaks_for_the_second_class() -> None:
    assert [output_units(n) for n in (2, 3, 10)] == [1, 3, 10]
    logits = np.array([[-2.0], [0.0], [np.log(3.0)]], np.float32)
    found = probabilities(class_scores(logits), 1.0)
    np.testing.assert_allclose(found[1:], [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)
    assert found[0].argmax() == 0


# R. G. Newcombe, Statistics in Medicine 17, 857-872 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_an_accuracy_is_the_published_one(
    right: int, n: int, low: float, high: float
) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 3000), st.floats(0, 1))
def test_the_interval_of_an_accuracy_is_that_of_scipy(n: int, share: float) -> None:
    right = round(share * n)
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def pairs(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, ...]:
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


def test_the_exact_mcnemar_test_gives_the_published_value() -> None:
    # Airway hyper-responsiveness of 21 children before and after stem-cell transplantation, 1 and
    # 7 discordant pairs: exact conditional p = 0.070. M. Fagerland, S. Lydersen, P. Laake, BMC
    # Medical Research Methodology 13:91 (2013), table 1 and results.
    found = paired_comparison(*pairs(both=1, only_first=1, only_second=7, neither=12))
    assert [*found.counts.values()] == [1, 1, 7, 12]
    assert found.p == pytest.approx(0.0703125)
    assert found.difference == pytest.approx(-6 / 21)


def test_a_comparison_is_the_same_after_it_was_kept_in_the_metrics() -> None:
    found = paired_comparison(*pairs(both=1, only_first=1, only_second=7, neither=12))
    assert PairedDifference.from_metrics(found.metrics) == found
    names = ("accuracy_difference", "accuracy_difference_ci_low", "accuracy_difference_ci_high")
    counts = ("both_right", "only_first_right", "only_second_right", "both_wrong")
    assert tuple(found.metrics) == (*names, "mcnemar_p", *counts)
    assert PairedDifference.from_metrics({"accuracy_difference": 0.1}) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_mcnemar_test_counts_tosses_of_a_fair_coin(only_first: int, only_second: int) -> None:
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar(only_first, only_second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@pytest.mark.parametrize("counts", [(1800, 110, 40, 50), (180, 3, 11, 6), (15, 2, 2, 1)])
def test_the_interval_of_a_difference_is_that_of_scipy_bootstrap(
    counts: tuple[int, int, int, int],
) -> None:
    first, second = pairs(*counts)
    difference = first.astype(float) - second
    expected = bootstrap(
        (difference,), np.mean, n_resamples=RESAMPLES, method="percentile", batch=1000, rng=1
    )
    interval = expected.confidence_interval
    found = paired_comparison(first, second)
    # Of 10,000 resamples a percentile of 2.5 % is known to some 3 % of the standard error.
    tolerance = max(0.15 * expected.standard_error, 1.01 / len(first))
    assert found.ci == pytest.approx((interval.low, interval.high), abs=tolerance)
    assert paired_comparison(first, second) == found, "the same numbers whenever it is asked"
    turned = paired_comparison(second, first)
    assert turned.difference == -found.difference


def test_models_that_answer_alike_differ_by_nothing() -> None:
    found = paired_comparison(*pairs(both=90, only_first=0, only_second=0, neither=10))
    assert found.p == 1.0
    assert found.ci == (0.0, 0.0)


# Holm.


def test_several_models_are_corrected_for_as_in_the_textbook_example() -> None:
    # Four hypotheses with p = 0.01, 0.04, 0.03, 0.005: the last and the first are rejected at 0.05
    # (0.005 <= 0.05 / 4, 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2), as in the article
    # "Holm-Bonferroni method" of Wikipedia.
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p <= 0.05 for p in corrected] == [True, False, False, True]


@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_several_models_are_corrected_for_as_statsmodels_does(n: int) -> None:
    p_values = [*np.random.default_rng(n).uniform(0, 0.2, n)]
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_no_model_at_all_needs_no_correction() -> None:
    assert holm([]) == []


# Scores that each image has.

# Extra hours of sleep with two drugs, ten patients: Student, "The probable error of a mean", 1908.
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)


def test_a_paired_difference_is_that_of_students_sleep_data() -> None:
    found = paired_difference(*SLEEP)
    assert found.difference == pytest.approx(-1.58)
    # The published t is -4.0621, so that the error of the mean is 1.58 / 4.0621.
    assert found.ci
    half = (found.ci[1] - found.ci[0]) / 2
    assert found.difference / (half / 1.959964) == pytest.approx(-4.0621, abs=1e-4)
    assert found.p < ttest_rel(*SLEEP).pvalue < 0.01  # so few patients want the t distribution


@pytest.mark.parametrize(("n", "allowed"), [(400, 1e-3), (2000, 2e-4)])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.03, 0.05, 0.2])
def test_a_paired_difference_of_many_images_is_the_paired_t_test(
    n: int, allowed: float, shift: float
) -> None:
    generator = np.random.default_rng(n)
    first = generator.beta(0.3, 2, n)
    second = np.clip(first + generator.normal(shift, 0.3, n), 0, 1)
    found = paired_difference(first, second)
    assert found.p == pytest.approx(ttest_rel(first, second).pvalue, abs=allowed)
    interval = ttest_1samp(first - second, 0).confidence_interval()
    assert found.ci == pytest.approx(tuple(interval), abs=1e-3)


def test_scores_that_do_not_differ_are_no_evidence() -> None:
    same = np.array([0.1, 0.2, 0.3])
    assert paired_difference(same, same).p == 1
    assert paired_difference(same, same).difference == 0


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_mean_of_the_brier_scores_is_the_one_in_the_metrics(classes: int) -> None:
    generator = np.random.default_rng(classes)
    probabilities = generator.dirichlet(np.ones(classes), 300)
    labels = generator.integers(0, classes, 300)
    expected = brier_score_loss(labels, probabilities[:, 1] if classes == 2 else probabilities)
    assert brier_scores(labels, probabilities).mean() == pytest.approx(expected)
