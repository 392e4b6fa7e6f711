"""The parts of a comparison: statistics that are as published, rules that are as written."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel
from sklearn.metrics import brier_score_loss
from statsmodels.stats.multitest import multipletests

from stages.comparison.changes import MetricChange, stage_changes
from stages.comparison.endpoints import Endpoint
from stages.comparison.gate import check_gate
from stages.comparison.predictions import Predictions, predictions_in, why_not_paired
from stages.comparison.sides import Side
from stages.comparison.tolerances import TOLERANCES, check_reproduction
from stages.data.errors import UserError
from stages.reporting.results import Comparison
from stages.reporting.words import verdict
from stages.statistics.multiple import holm
from stages.statistics.paired_scores import brier_scores, paired_difference
from stages.tracking.declared import StageRecord, flattened
from stages.workflow.params import GateParams, read_gate, read_params

ROOT = Path(__file__).resolve().parents[2]

# Holm.


def test_several_models_are_corrected_for_as_in_the_textbook_example() -> None:
    # Four hypotheses with p = 0.01, 0.04, 0.03, 0.005: the last and the first are rejected at 0.05
    # (0.005 <= 0.05 / 4, 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2), as in the article
    # "Holm-Bonferroni method" of Wikipedia.
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p <= 0.05 for p in corrected] == [True, False, False, True]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_several_models_are_corrected_for_as_statsmodels_does(p_values: list[float]) -> None:
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
    half = (found.ci_high - found.ci_low) / 2
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
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(interval), abs=1e-3)


def test_scores_that_do_not_differ_are_no_evidence() -> None:
    same = np.array([0.1, 0.2, 0.3])
    assert paired_difference(same, same).p == 1
    assert paired_difference(same, same).difference == 0


def test_scores_that_are_not_paired_are_refused() -> None:
    for first, second in ((np.ones(3), np.ones(4)), (np.ones(1), np.ones(1))):
        with pytest.raises(ValueError, match="not paired"):
            paired_difference(first, second)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_mean_of_the_brier_scores_is_the_one_in_the_metrics(classes: int) -> None:
    generator = np.random.default_rng(classes)
    probabilities = generator.dirichlet(np.ones(classes), 300)
    labels = generator.integers(0, classes, 300)
    expected = brier_score_loss(labels, probabilities[:, 1] if classes == 2 else probabilities)
    assert brier_scores(labels, probabilities).mean() == pytest.approx(expected)


def test_a_corrected_p_value_decides_and_both_are_shown() -> None:
    measures = {
        "accuracy_difference": -0.01,
        "accuracy_difference_ci_low": -0.019,
        "accuracy_difference_ci_high": -0.001,
        "mcnemar_p": 0.03,
    }
    comparison = Comparison("the CNN here", "the CNN there", measures)
    assert verdict(comparison, 2000, 0.05).kind == "worse"
    said = verdict(comparison, 2000, 0.05, corrected_p=0.06, tests=2)
    assert said.kind == "no evidence"
    assert "exact McNemar p = 0.03, corrected for 2 models p = 0.06" in said.sentence


# Predictions.

TABLE = """\
index,actual,cnn,cnn_cat,cnn_dog,cnn_ship,old
7,ship,ship,0.1,0.2,0.7,cat
3,cat,dog,0.4,0.5,0.1,cat
5,dog,dog,0.000000,1.000000,0.000000,dog
"""


def parsed(text: str) -> Predictions:
    return predictions_in(text.encode(), "do something")


def test_predictions_are_read_in_the_order_of_the_images() -> None:
    found = parsed(TABLE)
    assert found.indices.tolist() == [3, 5, 7]
    assert found.classes == ["cat", "dog", "ship"]
    assert found.labels.tolist() == [0, 1, 2]
    assert found.is_right("cnn").tolist() == [False, True, True]
    assert found.probabilities["cnn"][0].tolist() == [0.4, 0.5, 0.1]
    assert set(found.answers) == {"cnn", "old"}
    assert set(found.probabilities) == {"cnn"}  # the old one has none


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("0.4,0.5", "0.9,0.5", "line 3: cnn: its probabilities are not those of a whole"),
        ("0.4,0.5", "1.2,-0.3", "line 3: cnn: its probabilities are not those of a whole"),
        ("5,dog,dog", "5,dog,cow", "line 4: cnn: 'cow' is none of cat, dog, ship"),
        ("5,dog", "x,dog", "column index: holds something else than whole numbers"),
        ("5,dog", "3,dog", "line 4 has an image again that is above"),
        ("cat\n5", "cat\n\n5", "line 4 is cut off or not as the others"),
        ("0.4,0.5", "0.4,nan", "line 3 is cut off or not as the others"),
        ("actual", "truth", "has no column actual"),
    ],
)
def test_a_damaged_row_is_named_by_its_line(old: str, new: str, what: str) -> None:
    with pytest.raises(UserError, match=f"^metrics/predictions.csv: {re.escape(what)}; do someth"):
        parsed(TABLE.replace(old, new, 1))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_no_rubbish_in_place_of_predictions_is_a_traceback(rubbish: bytes) -> None:
    for content in (rubbish, TABLE.encode()[:60] + rubbish, TABLE.encode() + rubbish):
        try:
            predictions_in(content, "do something")
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_predictions_of_the_project_pair_with_themselves() -> None:
    found = parsed(TABLE)
    assert why_not_paired(found, found) == ""
    other = replace(found, actual=found.actual[::-1])
    assert "2 of the images have another label (first: number 3, 7)" in why_not_paired(found, other)


# Stages.


def test_a_setting_that_became_null_and_one_that_is_gone_are_differences() -> None:
    before = StageRecord("train", {"a": 1, "b": None}, {"x.py": "1", "x.npz": "1"}, {"o": "1"})
    after = StageRecord("train", {"a": None}, {"x.py": "2", "x.npz": "1"}, {"o": "1"})
    (found,) = stage_changes({"train": before}, {"train": after})
    assert found.settings == ["a", "b"]
    assert (found.code, found.data, found.same_outputs) == (["x.py"], [], True)
    assert stage_changes({"train": before}, {"train": before}) == []
    (found,) = stage_changes({"train": before}, {})
    assert found.change == "removed"


# The gate.

RULES: dict[str, Any] = {
    "floors": {"cnn": {"accuracy": 0.9}},
    "ceilings": {},
    "alpha": 0.05,
    "max_accuracy_loss": 0.0,
    "max_brier_rise": 0.0,
}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"alpha": 0}, "gate.alpha: 0 is not allowed; allowed: a number above 0 below 1"),
        ({"alpha": "5 %"}, "gate.alpha: '5 %' is not allowed; allowed: a number above 0 below 1"),
        ({"floors": None}, "gate.floors: None is not allowed; allowed: a section with any of the"),
        (
            {"floors": {"cnn": {"accuracy": 90}}},
            "gate.floors.cnn.accuracy: 90 is not allowed; allowed: a number from 0 to 1",
        ),
        (
            {"floors": {"resnet": {"accuracy": 0.9}}},
            "gate.floors.resnet: unknown key; known here: baseline, cnn, mobilenet",
        ),
        (
            {"floors": {"cnn": {"brier": 0.9}}},
            "gate.floors.cnn.brier: unknown key; known here: accuracy, balanced_accuracy",
        ),
        (
            {"ceilings": {"cnn": {"accuracy": 0.9}}},
            "gate.ceilings.cnn.accuracy: unknown key; known here: log_loss, brier",
        ),
        ({"max_loss": 0.1}, "gate.max_loss: unknown key; known here: floors, ceilings, alpha"),
    ],
)
def test_a_mistake_in_the_rules_is_named_with_what_is_legal(
    change: dict[str, Any], what: str
) -> None:
    path = Path("params.yaml")
    with pytest.raises(UserError) as caught:
        read_gate(path, RULES | change)
    assert str(caught.value).startswith(f"params.yaml: {what}")
    assert "\n" not in str(caught.value)


def test_a_rule_that_is_missing_is_named() -> None:
    with pytest.raises(UserError, match=r"gate\.alpha: is missing; allowed: a number above 0"):
        read_gate(Path("params.yaml"), {k: v for k, v in RULES.items() if k != "alpha"})
    with pytest.raises(UserError, match="gate: None is not allowed; allowed: a section with the"):
        read_gate(Path("params.yaml"), None)


def side(**tested: float) -> Side:
    measures = {f"cnn.{name}": value for name, value in tested.items()}
    where = Endpoint("workspace", "", is_workspace=True)
    return Side(where, {"gate": RULES}, metrics={"metrics/evaluate.json": measures})


@pytest.mark.parametrize(
    ("accuracy", "outcome"), [(0.9, "kept"), (0.899999, "broken"), (0.95, "kept")]
)
def test_a_floor_is_reached_exactly_and_missed_by_a_hair(accuracy: float, outcome: str) -> None:
    head = side(accuracy=accuracy)
    head.gaps["metrics/predictions.csv"] = "are missing"
    rules = {rule.name: rule for rule in check_gate(head, head, [], "none").rules}
    assert rules["gate.floors.cnn.accuracy"].outcome == outcome
    assert rules["gate.max_accuracy_loss"].outcome == "broken"


def test_the_rules_of_the_project_hold_for_the_seeds_that_it_was_trained_with() -> None:
    committed = ["git", "show", "HEAD:metrics/seeds.json"]
    values = json.loads(subprocess.check_output(committed, cwd=ROOT))
    gate: GateParams = read_params(ROOT / "params.yaml").gate
    for model, floors in gate.floors.items():
        assert floors.get("accuracy", 0) < values[model]["test_accuracy"]["min"]


# From machine to machine.


def reproduction(base: dict[str, Any], head: dict[str, Any], file: str = "evaluate") -> set[str]:
    """Names of the metrics that are off."""
    before, after = flattened(base), flattened(head)
    path = f"metrics/{file}.json"
    metrics = [MetricChange(path, name, before.get(name), after.get(name)) for name in before]
    where = side()
    where.metrics[path] = before
    check = check_reproduction(where, metrics)
    return {rule.name.split(": ")[1] for rule in check.rules if rule.outcome == "broken"}


CNN = {
    "accuracy": 0.9245,
    "recall": 0.919,
    "roc_auc": 0.9775,
    "log_loss": 0.192,
    "brier": 0.0569,
    "ece": 0.0143,
    "calibration_slope": 0.9734,
    "coverage_at_99": 0.6145,
}
# The same architecture and settings, computed with other sums: another commit of this project.
CNN_AGAIN = {
    "accuracy": 0.9375,
    "recall": 0.932,
    "roc_auc": 0.9824,
    "log_loss": 0.17,
    "brier": 0.0486,
    "ece": 0.0171,
    "calibration_slope": 0.8681,
    "coverage_at_99": 0.7175,
}


def test_a_network_that_was_trained_on_another_machine_is_the_same() -> None:
    images = {"images": {"test": 2000}}
    assert reproduction({"cnn": CNN, **images}, {"cnn": CNN_AGAIN, **images}) == set()


def test_a_network_that_learned_nothing_is_not_the_same() -> None:
    chance = {"accuracy": 0.5, "roc_auc": 0.5, "log_loss": 0.693, "brier": 0.25, "recall": 0.5}
    off = reproduction({"cnn": CNN}, {"cnn": CNN | chance})
    assert off == {f"cnn.{name}" for name in chance}


def test_counts_of_images_agree_exactly_and_those_of_pairs_nearly() -> None:
    base = {"images": {"test": 2000}, "comparisons": {"a_vs_b": {"both_right": 1800}}}
    near = {"images": {"test": 2000}, "comparisons": {"a_vs_b": {"both_right": 1730}}}
    assert reproduction(base, near) == set()
    far = {"images": {"test": 1999}, "comparisons": {"a_vs_b": {"both_right": 1700}}}
    assert reproduction(base, far) == {"images.test", "comparisons.a_vs_b.both_right"}


def test_the_baseline_which_is_computed_without_chance_may_stray_least() -> None:
    base, head = {"accuracy": 0.628}, {"accuracy": 0.631}
    assert reproduction({"baseline": base}, {"baseline": head}) == {"baseline.accuracy"}
    assert reproduction({"cnn": base}, {"cnn": head}) == set()
    assert reproduction({"train": base}, {"train": head}, "train_baseline") == {"train.accuracy"}


def test_every_kind_of_tolerance_is_of_use() -> None:
    names = [
        *("comparisons.a_vs_b.mcnemar_p", "cnn.calibration_slope", "cnn.coverage_at_99"),
        *("flagged", "baseline.f1", "comparisons.a_vs_b.both_wrong", "cnn.log_loss"),
        *("comparisons.a_vs_b.accuracy_difference_ci_low", "cnn.robustness.jpeg", "cnn.f1"),
    ]
    metrics = [MetricChange("metrics/evaluate.json", name, 0.5, 0.5) for name in names]
    metrics.append(MetricChange("metrics/prepare.json", "train.images", 9000, 9000))
    table = check_reproduction(side(), metrics).table
    assert table is not None
    assert [row[0] for row in table.rows] == [each.kind for each in TOLERANCES]
