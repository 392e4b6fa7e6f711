"""The parts of a comparison: verdicts, predictions, rules that are as written."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data.errors import UserError
from stages.results.changes import MetricChange, stage_changes
from stages.results.gate import check_gate
from stages.results.predictions import Predictions, predictions_in, why_not_paired
from stages.results.reading import Results
from stages.results.reproduction import TOLERANCES, check_reproduction
from stages.results.seeds import SEEDS, trainings_in
from stages.results.verdicts import kind_of, sentence_on
from stages.statistics.paired import PairedDifference
from stages.workflow.legal_values import validated
from stages.workflow.params import GATE, GateParams, read_params
from stages.workflow.pipeline import LockEntry, flattened
from stages.workflow.revisions import Revision

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = Revision("workspace", "workspace", "")


@pytest.fixture(scope="module", autouse=True)
def _no_run_of_this_machine() -> Iterator[None]:
    """After `make repro` the checkout has receipts of its runs, which are none of these tests'."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("stages.results.reproduction.find_receipts", list)
        yield


def test_a_corrected_p_value_decides_and_both_are_shown() -> None:
    test = PairedDifference(-0.01, (-0.019, -0.001), 0.03)
    assert kind_of(test.difference, test.p, 0.05) == "worse"
    kind = kind_of(test.difference, 0.06, 0.05)
    assert kind == "no evidence"
    said = sentence_on("a", "b", test, kind, 2000, ", corrected for 2 models p = 0.06")
    assert "exact McNemar p = 0.03, corrected for 2 models p = 0.06" in said


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
    assert set(found.predicted) == {"cnn", "old"}
    assert set(found.probabilities) == {"cnn"}  # the old one has none


@pytest.mark.parametrize("classes", [("0", "1"), ("true", "false"), ("NA", "None"), ("07", "7")])
def test_classes_may_be_named_as_numbers_are(classes: tuple[str, str]) -> None:
    cat, dog = classes
    found = parsed(
        f"index,actual,cnn,cnn_{cat},cnn_{dog}\n"
        f"5,{cat},{dog},0.000000,1.000000\n"
        f"3,{dog},{dog},0.250000,0.750000\n"
    )
    assert found.classes == [cat, dog]
    assert found.indices.tolist() == [3, 5]
    assert found.predicted["cnn"].tolist() == [dog, dog]
    assert found.is_right("cnn").tolist() == [True, False]
    assert found.probabilities["cnn"].tolist() == [[0.25, 0.75], [0, 1]]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("0.4,0.5", "0.9,0.5", "line 3: cnn: its probabilities are not those of a whole"),
        ("0.4,0.5", "1.2,-0.3", "line 3: cnn: its probabilities are not those of a whole"),
        ("5,dog,dog", "5,dog,cow", "line 4: cnn: 'cow' is none of cat, dog, ship"),
        ("5,dog", "x,dog", "line 4: index: is neither a whole number nor the path of a photo"),
        ("5,dog", "3,dog", "line 4: has an image again that is above"),
        ("cat\n5", "cat\n\n5", "line 4: is cut off or not as the others"),
        ("0.4,0.5", "0.4,nan", "line 3: cnn: its probabilities are not those of a whole"),
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
    entry = LockEntry("train", {"a": 1, "b": None}, {"x.py": "1", "x.npz": "1"}, {"o": "1"})
    changed = replace(entry, params={"a": None}, deps={"x.py": "2", "x.npz": "1"})
    before, after = (Results(WORKSPACE, lock={"train": each}) for each in (entry, changed))
    (found,) = stage_changes(before, after)
    assert found.settings == ["a", "b"]
    assert (found.code, found.data, found.same_outputs) == (["x.py"], [], True)
    assert stage_changes(before, before) == []
    (added, removed) = stage_changes(before, Results(WORKSPACE, lock={"fit": entry}))
    assert (added.change, removed.change) == ("added", "removed")


# The gate.

RULES: dict[str, Any] = {
    "floors": {"cnn": {"accuracy": 0.9}},
    "ceilings": {},
    "alpha": 0.05,
    "max_accuracy_loss": 0.0,
    "max_brier_rise": 0.0,
}


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        (RULES | {"alpha": 0}, "gate.alpha: 0 is not allowed; allowed: a number above 0"),
        (RULES | {"floors": None}, "gate.floors: None is not allowed; allowed: a section with"),
        (
            RULES | {"floors": {"cnn": {"accuracy": 90}}},
            "gate.floors.cnn.accuracy: 90 is not allowed; allowed: a number from 0 to 1",
        ),
        (
            RULES | {"ceilings": {"cnn": {"accuracy": 0.9}}},
            "gate.ceilings.cnn.accuracy: unknown key; known here: log_loss, brier",
        ),
        ({k: v for k, v in RULES.items() if k != "alpha"}, "gate.alpha: is missing; allowed: a"),
        (None, "gate: None is not allowed; allowed: a section with the"),
    ],
)
def test_a_mistake_in_the_rules_is_named_with_what_is_legal(rules: Any, what: str) -> None:
    with pytest.raises(UserError) as caught:
        validated("params.yaml", GateParams, rules, GATE)
    assert str(caught.value).startswith(f"params.yaml: {what}")
    assert "\n" not in str(caught.value)


def side(**tested: float) -> Results:
    measures = {f"cnn.{name}": value for name, value in tested.items()}
    return Results(WORKSPACE, {"gate": RULES}, metrics={"metrics/evaluate.json": measures})


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
    committed = subprocess.check_output(["git", "show", f"HEAD:{SEEDS}"], cwd=ROOT)
    gate: GateParams = read_params(ROOT / "params.yaml").gate
    trainings = trainings_in(committed)
    assert {each.model for each in trainings} >= set(gate.floors)
    for each in trainings:
        assert gate.floors[each.model].get("accuracy", 0) < each.measures["test_accuracy"]


# From machine to machine.


def reproduction(base: dict[str, Any], head: dict[str, Any], file: str = "evaluate") -> set[str]:
    """Names of the metrics that are off."""
    before, after = flattened(base), flattened(head)
    path = f"metrics/{file}.json"
    metrics = [MetricChange(path, name, before.get(name), after.get(name)) for name in before]
    where = side()
    where.metrics[path] = before
    check = check_reproduction(where, where, metrics)
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
    few = {"baseline_test": 0.628, "cnn_test": 0.92}  # as in metrics/summary.json
    again = {"baseline_test": 0.631, "cnn_test": 0.93}
    assert reproduction(few, again, "summary") == {"baseline_test"}


def test_every_kind_of_tolerance_is_of_use() -> None:
    names = [
        *("comparisons.a_vs_b.mcnemar_p", "cnn.calibration_slope", "cnn.coverage_at_99"),
        *("flagged", "baseline.f1", "comparisons.a_vs_b.both_wrong", "cnn.log_loss"),
        *("comparisons.a_vs_b.accuracy_difference_ci_low", "cnn.robustness.jpeg", "cnn.f1"),
    ]
    metrics = [MetricChange("metrics/evaluate.json", name, 0.5, 0.5) for name in names]
    metrics.append(MetricChange("metrics/prepare.json", "train.images", 9000, 9000))
    table = check_reproduction(side(), side(), metrics).table
    assert table is not None
    assert [row[0] for row in table.rows] == [each.kind for each in TOLERANCES]
