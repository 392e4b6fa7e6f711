"""Wrong labels are found, right ones are left alone, and the photos shown are the ones meant."""

import numpy as np
import pytest

from stages.audit_labels import issues_table
from stages.data.errors import UserError
from stages.data.splits import Split
from stages.statistics.label_quality import doubtful_labels, out_of_fold_probabilities
from stages.statistics.selection import joint_contradictions, sure_mistakes, unsure_hits


def blobs(n: int, wrong: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of two well separated classes, labels of which some are turned, and which."""
    generator = np.random.default_rng(5)
    labels = np.arange(n) % 2
    features = generator.normal(0, 1, (n, 6)) + 3 * labels[:, None]
    turned = generator.permutation(n)[:wrong]
    labels[turned] = 1 - labels[turned]
    return features, labels, np.sort(turned)


def test_turned_labels_are_found() -> None:
    features, labels, turned = blobs(600, wrong=15)
    found = doubtful_labels(labels, out_of_fold_probabilities(features, labels, 5))
    assert len({*turned} & {*found}) >= 12, "most of the 15 are named"
    assert len({*found} - {*turned}) <= 2, "and hardly any other"


def test_clean_labels_are_left_alone() -> None:
    features, labels, _ = blobs(600, wrong=0)
    assert len(doubtful_labels(labels, out_of_fold_probabilities(features, labels, 5))) <= 2


def test_no_image_is_judged_by_what_learned_it() -> None:
    # Noise teaches nothing: a classifier that had seen the image itself would know it.
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(200, 150)), np.arange(200) % 2
    right = out_of_fold_probabilities(features, labels, 5).argmax(axis=1) == labels
    assert 0.35 < right.mean() < 0.65


def test_more_folds_than_images_of_a_class_are_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"audit.folds: 11 is more than the 10 training images"):
        out_of_fold_probabilities(np.ones((20, 3)), np.arange(20) % 2, 11)


def test_the_same_images_give_the_same_list() -> None:
    features, labels, _ = blobs(300, wrong=9)
    runs = [out_of_fold_probabilities(features, labels, 3) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    np.testing.assert_array_equal(*(doubtful_labels(labels, run) for run in runs))


def test_the_list_names_image_label_and_suggestion() -> None:
    noise = np.zeros((4, 32, 32, 3), np.uint8)
    names = ["automobile", "truck", "cat"]
    splits = {
        "train": Split(noise, np.array([0, 1, 2, 0]), np.array([10, 20, 30, 40]), names),
        "validation": Split(noise[:2], np.array([1, 0]), np.array([5, 6]), names),
    }
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.1, 0.2, 0.7], [0, 0, 1], [1, 0, 0], [0.6, 0.3, 0.1], [1, 0, 0]]
    )
    found = issues_table(splits, probabilities, np.array([1, 4]))
    assert found.to_dict("records") == [
        {
            "rank": 1,
            "split": "train",
            "index": 20,
            "label": "truck",
            "suggested": "cat",
            "label_probability": 0.2,
            "suggested_probability": 0.7,
        },
        {
            "rank": 2,
            "split": "validation",
            "index": 5,
            "label": "truck",
            "suggested": "automobile",
            "label_probability": 0.3,
            "suggested_probability": 0.6,
        },
    ]


def test_the_photos_shown_are_the_sure_mistakes_and_the_unsure_hits() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    second = np.array([0.9, 0.2, 0.1, 0.55, 0.99])
    probabilities = np.column_stack([1 - second, second])
    assert sure_mistakes(labels, probabilities).tolist() == [0, 2]
    assert unsure_hits(labels, probabilities).tolist() == [3, 1, 4]


@pytest.mark.parametrize("n_models", [1, 3])
def test_a_label_is_contradicted_when_all_models_agree_against_it(n_models: int) -> None:
    labels = np.array([0, 0, 1, 1])
    second = np.array([[0.7, 0.9, 0.9, 0.2], [0.6, 0.9, 0.9, 0.4], [0.8, 0.9, 0.9, 0.9]])[:n_models]
    predicted = [np.column_stack([1 - row, row]) for row in second]
    expected = [1, 3, 0] if n_models == 1 else [1, 0]
    assert joint_contradictions(labels, predicted).tolist() == expected
