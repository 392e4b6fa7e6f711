"""What another seed would do: the tests are those of the textbooks, and stale seeds are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from benchmarks import gate
from stages.data.errors import UserError
from stages.models.names import MODELS
from stages.results.seeds import (
    MEASURES,
    Training,
    another_seed,
    is_fresh,
    stale_seeds,
    trainings_in,
)
from stages.workflow.pipeline import LockEntry

CNN = {0: 0.9245, 1: 0.917, 2: 0.9325, 3: 0.9245, 4: 0.9295}
LEVELS = (0.2, 0.05, 0.01)


def test_two_trainings_are_held_against_the_spread_of_the_seeds() -> None:
    # By hand: s = 0.0059, t of 4 degrees at 97.5 % is 2.776; 2.776 · 0.0059 · √2 = 0.0232.
    found = another_seed(CNN, {}, -0.02, 0.05)
    assert found is not None
    assert found.std == pytest.approx(0.005899, abs=1e-6)
    assert found.needed == pytest.approx(2.776445 * 0.005899 * math.sqrt(2), abs=1e-6)
    assert found.seeds == (5, 0)
    assert not found.confirms(-0.02)
    larger = another_seed({}, CNN, -0.024, 0.05)
    assert larger is not None
    assert larger.seeds == (0, 5)
    assert larger.confirms(-0.024)


@pytest.mark.parametrize("seed", range(20))
def test_means_over_seeds_are_held_against_the_tests_of_student_and_welch(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(0.9, 0.01, 5), random.normal(0.91, 0.003, random.integers(2, 9))
    base, head = dict(enumerate(first.tolist())), dict(enumerate(second.tolist(), start=100))
    p_welch = ttest_ind(second, first, equal_var=False).pvalue
    paired = dict(enumerate(random.normal(0.91, 0.003, 5).tolist()))
    p_paired = ttest_rel([*paired.values()], first).pvalue
    for level in LEVELS:
        for after, p in ((head, p_welch), (paired, p_paired)):
            found = another_seed(base, after, -1.0, level)
            assert found is not None
            assert found.is_paired == (after is paired)
            assert found.difference == pytest.approx(np.mean([*after.values()]) - first.mean())
            assert (abs(found.difference) > found.needed) == (p < level)
            assert found.confirms(found.difference) == (p < level)
            assert not found.confirms(-found.difference)  # the images say the opposite


def test_two_questions_at_one_level_are_one_test_of_student() -> None:
    """What is needed is where the p value of (a − b) / (s √2) is the level."""
    found = another_seed(CNN, {}, 0.01, 0.025)
    assert found is not None
    assert found.std is not None
    statistic = found.needed / (found.std * math.sqrt(2))
    assert 2 * t.sf(statistic, df=4) == pytest.approx(0.025)


def test_without_two_seeds_nothing_is_said_and_equal_seeds_are_no_division_by_zero() -> None:
    assert another_seed({}, {}, 0.1, 0.05) is None
    assert another_seed({0: 0.9}, {0: 0.8}, 0.1, 0.05) is None
    equal, others = {0: 0.9, 1: 0.9}, {5: 0.8, 6: 0.8}
    for sides in ((equal, {}), (equal, {0: 0.8, 1: 0.8}), (equal, others)):
        found = another_seed(*sides, -0.1, 0.05)
        assert found is not None
        assert found.needed == 0
        assert found.confirms(-0.1)


def test_the_same_recipe_with_other_seeds_is_rarely_called_worse() -> None:
    """At most once in 20, however far apart the models' spreads are."""
    for scale in (1.0, 30.0):
        spreads = {
            model: {"accuracy": [0.0, 1.0, 2.0] * n, "brier": [0.0, scale] * n}
            for model, n in (("cnn", 1), ("mobilenet", 2))
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gate, "TRIALS", 4000)
            share = gate.false_failures(spreads, {"accuracy": 0, "brier": 0}, 0.05)
        assert 0.03 < share < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_no_pair_of_the_seeds_that_the_cnn_once_had_fails_the_gate() -> None:
    told = gate.pairs("cnn", {"accuracy": [*CNN.values()]}, {"accuracy": 0.005}, 0.05)
    assert told["outcome"] == "0 of 20 fail"


# Which are stale.

ENTRY = LockEntry(
    "train_cnn",
    {"cnn.seed": 0, "cnn.epochs": 12, "libraries.yaml:keras": "3.15.1"},
    {"stages/models/cnn.py": "1", "data/prepared/train.npz": "2"},
    {"data/models/cnn.npz": "3"},
)
BASELINE = LockEntry("train_baseline", {"baseline.ridge": 0}, {}, {})


def trained(seed: int, **changes: object) -> Training:
    params = ENTRY.params | {"cnn.seed": seed}
    key = replace(ENTRY, **{"params": params, **changes}).inputs_key
    return Training("cnn", seed, key, {})


def test_a_row_is_fresh_if_all_but_its_seed_is_what_dvc_recorded() -> None:
    lock = {"train_cnn": ENTRY, "train_baseline": BASELINE}
    assert is_fresh(trained(0), lock)
    assert is_fresh(trained(3), lock)
    assert is_fresh(trained(3, outs={}), lock)  # of another machine
    assert not is_fresh(trained(3)._replace(seed=4), lock)
    assert not is_fresh(trained(3), {})
    for changed in (
        {"params": ENTRY.params | {"cnn.seed": 3, "cnn.epochs": 4}},
        {"deps": ENTRY.deps | {"stages/models/cnn.py": "4"}},
    ):
        stale = trained(3, **changed)
        assert not is_fresh(stale, lock)
        rows = [trained(0), stale, Training("svm", 0, "", {})]
        told = stale_seeds(rows, lock)
        assert told.startswith("metrics/seeds.csv: stale are cnn (1 of 2), svm (1 of 1), of other")
        assert told.endswith("; run `make seeds`")
    assert is_fresh(Training("baseline", 7, BASELINE.inputs_key, {}), lock)
    assert stale_seeds([trained(0), trained(1)], lock) == ""


def test_a_table_is_read_and_an_older_one_is_stale_throughout() -> None:
    header = f"model,seed,computation,{','.join(MEASURES)}\n"
    (found,) = trainings_in(f"{header}cnn,3,{'a' * 32},0.95,0.94,0.93,0.05\n".encode())
    measured = dict(zip(MEASURES, (0.95, 0.94, 0.93, 0.05), strict=True))
    assert found == Training("cnn", 3, "a" * 32, measured)
    (older,) = trainings_in(b"model,seed,test_accuracy\r\ncnn,0,0.9\r\n")
    assert older == Training("cnn", 0, "", {"test_accuracy": 0.9})
    assert not is_fresh(older, {"train_cnn": ENTRY})
    assert trainings_in(b"") == []
    for damaged in (b"x\n1\n", b"model,seed,test_accuracy\ncnn,0\n", b"model,seed\ncnn,\xff\n"):
        with pytest.raises(UserError, match=r"^metrics/seeds\.csv: line 2: is cut off .* `make s"):
            trainings_in(damaged)


def test_the_stage_of_each_network_has_one_seed() -> None:
    from stages.workflow.revisions import workspace

    for names in MODELS.values():
        seeds = [p for p in workspace().pipeline.stages[names.stage].params if p.endswith(".seed")]
        assert seeds == [f"{names.name}.seed"] * (names.name != "baseline")
