"""The splits keep their promises, or `prepare` says which one is broken."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data.cifar10 import CLASS_NAMES, Cifar10
from stages.data.errors import UserError
from stages.data.grouping import equal_images, groups_of
from stages.data.near_duplicates import near_duplicates
from stages.data.preparation import (
    check_promises,
    chosen_images,
    exact_duplicates,
    make_splits,
    uneven_shares,
)
from stages.data.splits import Split, class_weights
from stages.workflow.params import read_params
from tests.raw_files import ROOT

TRAIN_PER_CLASS, TEST_PER_CLASS = 40, 15
CARS = ["automobile", "truck"]
Draw = Callable[[int, int], np.ndarray]


def draw_images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (n, 32, 32, 3), dtype=np.uint8)


def draw_cifar10() -> Cifar10:
    generator = np.random.default_rng(0)
    train, test = (
        generator.permutation(np.repeat(np.arange(10, dtype=np.uint8), n))
        for n in (TRAIN_PER_CLASS, TEST_PER_CLASS)
    )
    return Cifar10(draw_images(len(train), 1), train, draw_images(len(test), 2), test)


CIFAR10 = draw_cifar10()
PARAMS = read_params(ROOT / "params.yaml").data


def splits_of(
    classes: list[str], fraction: float = 0.1, limit: int | None = None, seed: int = 0
) -> dict[str, Split]:
    images, is_test = chosen_images(CIFAR10, classes, limit, seed)
    params = PARAMS.model_copy(update={"validation_fraction": fraction, "seed": seed})
    return make_splits(images, is_test, np.arange(len(images)), params)


CHOICES = st.permutations(CLASS_NAMES).flatmap(
    lambda names: st.integers(2, 10).map(lambda n: names[:n])
)


@settings(max_examples=40, deadline=None)
@given(CHOICES, st.floats(0.1, 0.5), st.none() | st.integers(10, 50), st.integers(0, 2**31 - 1))
def test_whatever_is_chosen_the_splits_are_true_apart_balanced_and_in_order(
    classes: list[str], fraction: float, limit: int | None, seed: int
) -> None:
    splits = splits_of(classes, fraction, limit, seed)
    assert list(splits) == ["train", "validation", "test"]
    of_source = {
        "train": (CIFAR10.train_images, CIFAR10.train_labels),
        "validation": (CIFAR10.train_images, CIFAR10.train_labels),
        "test": (CIFAR10.test_images, CIFAR10.test_labels),
    }
    for name, split in splits.items():
        images, labels = of_source[name]
        np.testing.assert_array_equal(split.images, images[split.indices], strict=True)
        assert [classes[label] for label in split.labels] == [
            CLASS_NAMES[label] for label in labels[split.indices]
        ]
        assert split.labels.dtype == split.indices.dtype == np.int64
        assert (np.diff(split.indices) > 0).all()
        counts = np.bincount(split.labels, minlength=len(classes))
        assert counts.max() - counts.min() <= 1
    assert not set(splits["train"].indices) & set(splits["validation"].indices)
    of_each = min(limit or TRAIN_PER_CLASS, TRAIN_PER_CLASS)
    used = len(splits["train"]) + len(splits["validation"])
    assert used == of_each * len(classes)
    assert len(splits["validation"]) == pytest.approx(fraction * used, abs=1)
    assert len(splits["test"]) == min(limit or TEST_PER_CLASS, TEST_PER_CLASS) * len(classes)
    check_promises(splits)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    first, again, other = (splits_of(CARS, seed=seed) for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name].indices, again[name].indices)
    assert set(first["validation"].indices) != set(other["validation"].indices)
    np.testing.assert_array_equal(first["test"].indices, other["test"].indices)
    limited = [set(splits_of(CARS, limit=10, seed=seed)["test"].indices) for seed in (0, 1)]
    assert limited[0] != limited[1]


def test_without_a_limit_every_image_of_the_classes_is_used_once() -> None:
    splits = splits_of(CARS)
    wanted = [CLASS_NAMES.index(name) for name in CARS]
    used = np.concatenate([splits["train"].indices, splits["validation"].indices])
    expected = np.flatnonzero(np.isin(CIFAR10.train_labels, wanted))
    np.testing.assert_array_equal(np.sort(used), expected)


@pytest.mark.parametrize("n_classes", [2, 10])
def test_the_smallest_trial_that_params_allow_has_images_of_each_class(n_classes: int) -> None:
    try:
        splits = splits_of(list(CLASS_NAMES[:n_classes]), fraction=0.01, limit=10)
    except UserError as error:
        assert "validation_fraction" in str(error)  # noqa: PT017 -- a plain message is as good
    else:
        assert set(splits["validation"].labels) == set(range(n_classes))


def good_splits() -> dict[str, Split]:
    sizes = {"train": 20, "validation": 4, "test": 10}
    return {
        name: Split(draw_images(n, seed), np.arange(n) % 2, np.arange(n), CARS)
        for seed, (name, n) in enumerate(sizes.items())
    }


def broken_message(splits: dict[str, Split]) -> str:
    check_promises(good_splits())  # it is the change that breaks it
    with pytest.raises(UserError) as caught:
        check_promises(splits)
    text = str(caught.value)
    assert text.startswith("data: a promise of the data is broken in ")
    assert text.endswith(
        "choose other data.classes or photos; of CIFAR-10 delete data/cifar10.npz and run `dvc "
        "repro`"
    )
    assert "\n" not in text
    return text


def change(splits: dict[str, Split], name: str, **arrays: np.ndarray) -> dict[str, Split]:
    return {**splits, name: Split(**{**vars(splits[name]), **arrays})}


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_images_of_another_type_or_shape_are_told(name: str) -> None:
    splits = good_splits()
    images = splits[name].images
    n = len(images)
    text = broken_message(change(splits, name, images=images / np.float32(255)))
    assert f"in {name}: images are float32 [{n}, 32, 32, 3], not uint8 [{n}, 32, 32, 3]" in text
    text = broken_message(change(splits, name, images=images.transpose(0, 3, 1, 2)))
    assert f"in {name}: images are uint8 [{n}, 3, 32, 32], not uint8 [{n}, 3, 3, 3]" in text
    text = broken_message(change(splits, name, images=images[1:]))
    assert f"in {name}: images are uint8 [{n - 1}, 32, 32, 3], not uint8 [{n}, 32," in text


@pytest.mark.parametrize("value", [0, 255])
def test_empty_pictures_are_told(value: int) -> None:
    splits = good_splits()
    constant = np.full_like(splits["test"].images, value)
    text = broken_message(change(splits, "test", images=constant))
    assert "in test: all pixels have one value" in text


def test_a_class_without_images_is_told_with_the_counts() -> None:
    splits = good_splits()
    text = broken_message(change(splits, "train", labels=np.ones(20, int)))
    told = "a class has no images, or a label no class: {'automobile': 0, 'truck': 20}"
    assert f"in train: {told}" in text


def test_a_damaged_cifar10_whose_classes_are_not_balanced_is_told_with_their_counts() -> None:
    labels = CIFAR10.train_labels.copy()
    labels[np.flatnonzero(labels == 1)[0]] = 9
    with pytest.raises(UserError, match=r"not balanced: {'automobile': 39, 'truck': 41}; delete"):
        chosen_images(replace(CIFAR10, train_labels=labels), CARS, None, 0)


def test_a_label_that_no_class_has_is_told() -> None:
    splits = good_splits()
    labels = splits["test"].labels.copy()
    labels[:] = np.arange(len(labels)) % 3
    assert "in test: a class has no images, or a label no class" in broken_message(
        change(splits, "test", labels=labels)
    )


@pytest.mark.parametrize(("first", "second"), [*combinations(["train", "validation", "test"], 2)])
def test_an_image_that_is_in_two_splits_is_told_with_its_places(first: str, second: str) -> None:
    splits = good_splits()
    images = splits[second].images.copy()
    images[2] = splits[first].images[3]
    text = broken_message(change(splits, second, images=images))
    assert f"in {first} and {second}: 1 images are in both, as number 3 of {first} and 2" in text


def test_an_image_twice_in_one_split_breaks_no_promise() -> None:
    splits = good_splits()
    images = splits["train"].images.copy()
    images[2] = images[3]
    splits = change(splits, "train", images=images)
    assert exact_duplicates(splits) == []
    check_promises(splits)


def smooth_images(n: int, seed: int) -> np.ndarray:
    """Blurred noise: neighbouring pixels are alike, as in photos."""
    coarse = np.random.default_rng(seed).integers(60, 180, (n, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("draw", [draw_images, smooth_images])
def test_copies_that_are_brighter_mirrored_or_recoded_are_found(draw: Draw) -> None:
    images = draw(40, 0)
    generator = np.random.default_rng(1)
    copies = {
        "same": images,
        "brighter": images + np.uint8(40),
        "more contrast": (images * 1.2).astype(np.uint8),
        "mirrored": images[:, :, ::-1],
        "brighter and mirrored": images[:, :, ::-1] + np.uint8(40),
        "re-coded": images + generator.integers(0, 4, images.shape, dtype=np.uint8),
    }
    for name, copied in copies.items():
        found = near_duplicates(copied, images)
        assert found.dtype == bool
        assert found.shape == (40,)
        assert found.all(), name


@pytest.mark.parametrize("draw", [draw_images, smooth_images])
def test_images_that_have_nothing_to_do_with_each_other_are_not_taken_for_copies(
    draw: Draw,
) -> None:
    assert not near_duplicates(draw(100, 0), draw(200, 1)).any()
    upside_down = draw(40, 0)[:, ::-1]
    assert not near_duplicates(upside_down, draw(40, 0)).any()


def test_only_the_copy_is_counted_however_many_images_there_are() -> None:
    images, others = draw_images(1003, 0), draw_images(50, 1)  # more than are compared at once
    images[1002] = others[49, :, ::-1]
    assert np.flatnonzero(near_duplicates(images, others)).tolist() == [1002]


def test_a_picture_of_one_color_is_no_copy_of_another() -> None:
    black, white = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 255, np.uint8)
    assert not near_duplicates(black, white).any()


def alone(images: Split) -> np.ndarray:
    return grouped(images, None)


def grouped(images: Split, pattern: str | None, *, near_duplicates: bool = False) -> np.ndarray:
    equal = equal_images(images.images)
    return groups_of(images, equal, pattern, near_duplicates=near_duplicates)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=30, max_size=60),
    st.sampled_from([0.1, 0.2, 0.25, 0.5]),
    st.integers(0, 1000),
)
def test_frames_of_one_car_are_all_in_one_split(
    frames: list[int], fraction: float, seed: int
) -> None:
    names = [f"car/car{car}_{frame}.jpg" for car, n in enumerate(frames) for frame in range(n)]
    cars = np.repeat(np.arange(len(frames)), frames)
    images = Split(draw_images(len(names), 0), cars % 2, np.array(names), CARS)
    groups = grouped(images, r"(car\d+)_")
    assert len(np.unique(groups)) == len(frames)
    params = PARAMS.model_copy(
        update={"validation_fraction": fraction, "test_fraction": fraction, "seed": seed}
    )
    splits = make_splits(images, None, groups, params)
    of_split = [{name.partition("_")[0] for name in each.indices} for each in splits.values()]
    assert sum(map(len, of_split)) == len(frames), "a car is in two splits"
    assert sum(map(len, splits.values())) == len(names)
    assert all(set(each.labels.tolist()) == {0, 1} for each in splits.values())


def test_a_pattern_groups_by_what_it_finds_and_by_its_parentheses() -> None:
    names = np.array(["a/red_1.jpg", "a/red_2.jpg", "b/blue_1.jpg", "b/none.jpg", "b/nothing.jpg"])
    images = Split(draw_images(5, 0), np.array([0, 0, 1, 1, 1]), names, CARS)
    whole = grouped(images, "[a-z]+_")
    assert whole.tolist() == grouped(images, r"([a-z]+)_\d").tolist()
    assert (whole[0] == whole[1], len(set(whole.tolist()))) == (True, 4)


def test_equal_images_stay_together_and_nearly_equal_ones_if_that_is_asked_for() -> None:
    images = draw_images(6, 0)
    images[1], images[3] = images[0], images[2, :, ::-1] + np.uint8(20)
    split = Split(images, np.arange(6) % 2, np.arange(6), CARS)
    assert len(set(alone(split).tolist())) == 5
    near = grouped(split, None, near_duplicates=True)
    assert (near[0] == near[1], near[2] == near[3], len(set(near.tolist()))) == (True, True, 4)


def test_training_images_that_belong_to_given_test_images_are_left_out() -> None:
    images, is_test = chosen_images(CIFAR10, CARS, None, 0)
    images.images[0] = images.images[-1]
    splits = make_splits(images, is_test, alone(images), PARAMS)
    assert len(splits["test"]) == 2 * TEST_PER_CLASS
    assert len(splits["train"]) + len(splits["validation"]) == 2 * TRAIN_PER_CLASS - 1
    check_promises(splits)


def test_a_pattern_that_finds_nothing_protects_nothing_and_is_told() -> None:
    images = Split(draw_images(4, 0), np.arange(4) % 2, np.array(["a/1.jpg"] * 4), CARS)
    with pytest.raises(
        UserError, match=r"group_pattern: '\(car\)' finds nothing in 4 paths, as a/1"
    ):
        grouped(images, "(car)")


def test_one_pair_of_equal_images_does_not_change_the_share_that_is_cut() -> None:
    images = draw_images(202, 0)
    images[1] = images[0]
    split = Split(images, np.arange(202) // 101, np.arange(202), CARS)
    params = PARAMS.model_copy(update={"test_fraction": 0.4, "validation_fraction": 0.25})
    splits = make_splits(split, None, alone(split), params)
    assert abs(len(splits["test"]) - 0.4 * 202) < 2
    assert uneven_shares(splits, params, is_cut=True) == []


def test_shares_that_large_groups_make_uneven_are_told() -> None:
    sizes = [1] * 30 + [40, 40]
    names = np.array([f"car{car}_{frame}" for car, n in enumerate(sizes) for frame in range(n)])
    labels = np.repeat(np.arange(len(sizes)) % 2, sizes)
    images = Split(draw_images(len(names), 0), labels, names, CARS)
    groups = grouped(images, r"car\d+_")
    told = []
    for seed in range(5):
        params = PARAMS.model_copy(update={"test_fraction": 0.2, "seed": seed})
        told += uneven_shares(make_splits(images, None, groups, params), params, is_cut=True)
    assert any(re.match(r"data.test_fraction: 0.2 is asked, it is 0\.\d\d, as im", t) for t in told)


def test_a_class_of_which_all_training_images_are_test_images_is_named() -> None:
    images = draw_images(60, 0)
    labels = np.tile([0, 1], 30)
    images[40:][labels[40:] == 1] = images[:20][labels[:20] == 1]
    images[20:40][labels[20:40] == 1] = images[:20][labels[:20] == 1]
    split = Split(images, labels, np.arange(60), CARS)
    with pytest.raises(UserError, match="all training images of 'truck' are equal to test images"):
        make_splits(split, np.arange(60) >= 40, alone(split), PARAMS)


def test_so_few_groups_that_a_split_would_lack_a_class_are_told() -> None:
    names = np.array([f"car{number // 20}_{number}" for number in range(80)])
    images = Split(draw_images(80, 0), np.arange(80) // 40, names, CARS)
    groups = grouped(images, r"car\d")
    with pytest.raises(UserError, match=r"data\.test_fraction: 0\.2 .*more images"):
        make_splits(images, None, groups, PARAMS)


def test_with_balanced_weights_every_class_counts_as_much() -> None:
    split = Split(draw_images(10, 0), np.array([0] * 8 + [1] * 2), np.arange(10), CARS)
    weights = class_weights(split, "balanced")
    assert weights is not None
    assert (weights * np.bincount(split.labels)).tolist() == [5.0, 5.0]
    assert class_weights(split, "none") is None
