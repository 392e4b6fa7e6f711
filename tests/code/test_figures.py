"""Pictures say what the numbers say, are legible, and are the same bytes each time."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image
from sklearn import metrics

from stages.figures.curves import learning_curves, roc_and_precision_recall
from stages.figures.intervals import (
    accuracy_intervals,
    confidence_bins,
    reliability,
    robustness,
)
from stages.figures.photos import captioned_grid, evidence_grid, image_grid
from stages.figures.predictions import confusion, feature_map, score_histograms
from stages.figures.style import save_figure

CLASSES = ["automobile", "truck", "airplane", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
TITLES = ["least squares, gray pixels", "CNN", "MobileNetV2, fine-tuned"]
CHANGES = ["unchanged", "mirrored", "less_contrast", "noise"]


def predictions(n: int, n_classes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels, and predictions of three models, each better than the one before."""
    generator = np.random.default_rng(n_classes)
    labels = np.arange(n) % n_classes
    logits = generator.normal(size=(len(TITLES), n, n_classes))
    predicted = {}
    for skill, (title, raw) in enumerate(zip(TITLES, logits, strict=True)):
        raw[np.arange(n), labels] += 1 + skill
        powers = np.exp(2 * raw)
        predicted[title] = powers / powers.sum(axis=1, keepdims=True)
    return labels, predicted


def photos(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def captions(n: int) -> list[str]:
    return [f"{9000 + number}: automobile\nsays truck 99.9 %" for number in range(n)]


def pictures(n_classes: int, n: int = 300) -> dict[str, Callable[[], Figure]]:
    labels, predicted = predictions(n, n_classes)
    classes = CLASSES[:n_classes]
    right = predicted[TITLES[-1]].argmax(axis=1) == labels
    points = np.random.default_rng(0).normal(size=(n, 2))
    ends = [(0.628, 0.607, 0.649), (0.925, 0.912, 0.935), (0.98, 0.972, 0.985)]
    names = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
    measured = {
        title: dict(zip(names, each, strict=True)) for title, each in zip(TITLES, ends, strict=True)
    }
    shares = {
        title: {change: accuracy - 0.04 * step for step, change in enumerate(CHANGES)}
        for title, (accuracy, _, _) in zip(TITLES, ends, strict=True)
    }
    epochs = np.arange(1, 13)
    curves = pd.DataFrame({"epoch": epochs})
    for split, speed in (("train", 3), ("validation", 2)):
        curves[f"{split}_loss"] = np.exp(-epochs / speed)
        curves[f"{split}_accuracy"] = 1 - np.exp(-epochs / speed) / 2
    maps = np.random.default_rng(1).normal(size=(6, 4, 4))
    return {
        "accuracy": lambda: accuracy_intervals(measured, 2000),
        "robustness": lambda: robustness(shares, 2000),
        "reliability": lambda: reliability(labels, predicted),
        "roc": lambda: roc_and_precision_recall(labels, predicted),
        "learning": lambda: learning_curves(curves, "CNN"),
        "confusion": lambda: confusion(labels, predicted, classes),
        "scores": lambda: score_histograms(labels, predicted, classes),
        "map": lambda: feature_map(points, labels, right, classes, (0.34, 0.12)),
        "photos": lambda: captioned_grid(photos(11), captions(11), "CNN: its 11 mistakes"),
        "evidence": lambda: evidence_grid(
            photos(6), maps, captions(6), "What speaks for a truck", ("truck", "automobile")
        ),
        "grid": lambda: image_grid([photos(5), photos(3)], classes[:2], "Training images"),
    }


NAMES = [*pictures(2)]


@cache
def picture(name: str, n_classes: int = 2) -> Figure:
    """A picture that no test changes, drawn once for all of them."""
    return pictures(n_classes)[name]()


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that are really drawn: an axis also has ticks outside of its limits."""
    found: list[Text] = []
    original = Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Text, "draw", lambda text, renderer: (found.append(text), original(text, renderer))
        )
        figure.draw_without_rendering()
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def words(figure: Figure) -> str:
    """All that can be read, on one line."""
    return " ".join(" ".join(text.get_text().split()) for text in drawn_texts(figure))


def assert_legible(figure: Figure) -> None:
    texts = drawn_texts(figure)
    names = [text.get_text() for text in texts]
    boxes = np.array([text.get_window_extent().extents for text in texts])
    low, high = boxes[:, :2], boxes[:, 2:]
    leaving = ((low < 0) | (high > figure.bbox.size)).any(axis=1)
    assert not leaving.any(), f"leave the picture: {np.array(names)[leaving]}"
    apart = (low[:, None] + 1 > high) | (low + 1 > high[:, None])  # in dots
    pairs = np.argwhere(~apart.any(axis=2))
    covering = [(names[one], names[other]) for one, other in pairs if one < other]
    assert not covering


@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_give_the_same_bytes_whatever_a_person_prefers(
    name: str, tmp_path: Path
) -> None:
    save_figure(tmp_path / "once.png", picture(name))
    with mpl.rc_context(
        {"font.size": 20, "axes.grid": False, "hatch.linewidth": 5, "lines.dashed_pattern": (9, 9)}
    ):
        save_figure(tmp_path / "again.png", pictures(2)[name]())
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "again.png").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_no_text_leaves_the_picture_or_covers_another(name: str) -> None:
    assert_legible(picture(name))


@pytest.mark.parametrize(
    ("name", "n_classes"),
    [
        ("reliability", 3),
        ("roc", 3),
        ("confusion", 3),
        ("confusion", 10),
        ("scores", 10),
        ("map", 10),
    ],
)
def test_more_than_two_classes_are_legible(name: str, n_classes: int) -> None:
    assert_legible(picture(name, n_classes))


@pytest.mark.parametrize("name", ["reliability", "confusion"])
def test_more_models_than_a_row_holds_are_legible(name: str) -> None:
    labels, predicted = predictions(50, 2)
    more = {**predicted, "another model": predicted[TITLES[0]]}
    draw = {
        "reliability": lambda: reliability(labels, more),
        "confusion": lambda: confusion(labels, more, CLASSES[:2]),
    }
    figure = draw[name]()
    assert_legible(figure)
    assert all(title in words(figure) for title in more)


@pytest.mark.parametrize("name", ["reliability", "confusion", "scores", "map"])
def test_a_single_image_can_be_looked_at(name: str) -> None:
    assert_legible(pictures(2, n=1)[name]())


@pytest.mark.parametrize("name", ["reliability", "roc", "confusion", "scores"])
def test_probabilities_of_exactly_0_and_1_are_drawn(name: str) -> None:
    labels = np.array([0, 0, 1, 1])
    predicted = {"sure": np.eye(2)[[0, 0, 1, 0]]}
    draw = {
        "reliability": lambda: reliability(labels, predicted),
        "roc": lambda: roc_and_precision_recall(labels, predicted),
        "confusion": lambda: confusion(labels, predicted, CLASSES[:2]),
        "scores": lambda: score_histograms(labels, predicted, CLASSES[:2]),
    }
    assert_legible(draw[name]())


def test_accuracies_stand_beside_their_intervals() -> None:
    readable = words(picture("accuracy"))
    assert "2,000 test images" in readable
    for text in ("62.8 % (60.7 – 64.9)", "92.5 % (91.2 – 93.5)", "98.0 % (97.2 – 98.5)", *TITLES):
        assert text in readable


def test_each_change_of_the_photos_has_its_row_and_each_model_its_mark() -> None:
    figure = picture("robustness")
    readable = words(figure)
    for text in ("unchanged", "mirrored", "less contrast", "noise", *TITLES):
        assert text in readable
    marks = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s", "^")]
    drawn = [line.get_xdata()[0] for line in marks if len(line.get_xdata())]
    assert len(drawn) == len(TITLES) * len(CHANGES)
    assert max(drawn) == pytest.approx(0.98)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_drawn_curves_are_those_of_scikit_learn(n_classes: int) -> None:
    labels, predicted = predictions(300, n_classes)
    figure = picture("roc", n_classes)
    roc, precision_recall = figure.axes[:2]
    positives = [1] if n_classes == 2 else range(n_classes)
    for number, (title, probabilities) in enumerate(predicted.items()):
        of_class = [(labels == positive, probabilities[:, positive]) for positive in positives]
        area = np.mean([metrics.roc_auc_score(*each) for each in of_class])
        average = np.mean([metrics.average_precision_score(*each) for each in of_class])
        curve, steps = roc.lines[number], precision_recall.lines[number]
        assert curve.get_label() == f"{title}: AUC {area:.3f}"
        assert steps.get_label() == f"{title}: AP {average:.3f}"
        if n_classes == 2:
            expected = metrics.roc_curve(*of_class[0])[:2]
            np.testing.assert_array_equal(curve.get_xydata().T, expected)
        else:  # the mean is drawn through 201 points
            assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(
                area, abs=0.003
            )
        assert steps.get_drawstyle() == "steps-pre"
        recall, precision = steps.get_xydata().T
        assert np.diff(recall) @ precision[1:] == pytest.approx(average)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_confusion_has_a_cell_for_each_pair_of_classes(n_classes: int) -> None:
    labels, predicted = predictions(300, n_classes)
    figure = picture("confusion", n_classes)
    for axis, probabilities in zip(figure.axes, predicted.values(), strict=False):
        counts = metrics.confusion_matrix(labels, probabilities.argmax(axis=1))
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
        cells = [text.get_text() for text in axis.texts]
        assert cells == [
            f"{count}\n{share:.1f} %" for count, share in zip(counts.flat, shares.flat, strict=True)
        ]


def test_score_histograms_count_every_image() -> None:
    labels, _ = predictions(300, 2)
    figure = picture("scores")
    for axis in figure.axes:
        for label, steps in enumerate(axis.patches):
            counts = steps.get_data()[0]
            assert counts[counts >= 1].sum() == (labels == label).sum()


def test_bins_of_confidence_hold_every_image_at_its_place() -> None:
    # Edges at 0.5, 0.55, ..., 1; an edge belongs to the bin below it, as in Guo et al.
    confidence = np.array([0.5, 0.55, 0.56, 1.0, 1.0])
    probabilities = np.column_stack([confidence, 1 - confidence])
    found = confidence_bins(np.array([0, 1, 0, 0, 1]), probabilities)
    assert found.index.tolist() == [0, 1, 9]
    assert found["images"].tolist() == [2, 1, 2]
    assert found["accuracy"].tolist() == [0.5, 1.0, 0.5]
    assert found["confidence"].to_numpy() == pytest.approx([0.525, 0.56, 1.0])
    assert found.loc[0, "low"] == pytest.approx(0.0945, abs=1e-4)  # Wilson, 1 of 2
    assert found.loc[0, "high"] == pytest.approx(0.9055, abs=1e-4)


def test_the_map_of_features_rings_each_mistake() -> None:
    points, labels = np.array([[0.0, 0], [1, 1], [2, 0]]), np.array([0, 1, 1])
    right = np.array([True, False, True])
    figure = feature_map(points, labels, right, CLASSES[:2], (0.341, 0.12))
    *_, rings = figure.axes[0].collections
    np.testing.assert_array_equal(rings.get_offsets(), [[1, 1]])
    readable = words(figure)
    for text in ("automobile (1)", "truck (2)", "mistakes (1)", "34 % of the variance"):
        assert text in readable


def test_a_model_without_mistakes_has_a_map_of_features_too() -> None:
    labels = np.arange(6) % 2
    points = np.arange(12.0).reshape(6, 2)
    figure = feature_map(points, labels, labels >= 0, CLASSES[:2], (0.5, 0.5))
    assert "mistakes (0)" in words(figure)


def test_learning_curves_mark_the_epoch_that_is_kept() -> None:
    figure = picture("learning")
    assert "epoch kept (12)" in words(figure)
    for axis in figure.axes:
        train, validation, kept = axis.lines
        assert (train.get_linestyle(), validation.get_linestyle()) == ("--", "-")
        assert set(kept.get_xdata()) == {12}


def test_no_mistakes_are_shown_as_none() -> None:
    empty = np.zeros((0, 32, 32, 3), np.uint8)
    maps = np.zeros((0, 4, 4))
    for figure in (
        captioned_grid(empty, [], "Mistakes of a model"),
        evidence_grid(empty, maps, [], "Mistakes of a model", ("truck", "automobile")),
    ):
        assert_legible(figure)
        assert "none" in words(figure)


@pytest.mark.parametrize("n", [1, 9])
def test_every_photo_has_its_caption(n: int) -> None:
    figure = captioned_grid(photos(n), captions(n), "Photos")
    readable = [text.get_text().replace("\u00a0", " ") for text in drawn_texts(figure)]
    assert [text for text in readable if "says" in text] == captions(n)
    assert len(figure.axes[0].images) == n


def test_long_captions_and_titles_are_broken_and_stay_apart() -> None:
    caption = "MMMMMMMM MMMMMMMM MMMMMMMMMMMMMMMMMMMMMMMMMMM 99.9 %"
    title = "Test images whose label all models contradict, with the mean probability of the models"
    figure = captioned_grid(photos(5), [caption] * 5, title, columns=3)
    assert_legible(figure)
    assert title in words(figure)


def test_pixels_of_a_photo_stay_squares(tmp_path: Path) -> None:
    shown = photos(9)
    save_figure(tmp_path / "photos.png", captioned_grid(shown, ["one line"] * 9, "Photos"))
    with Image.open(tmp_path / "photos.png") as file:
        picture = np.asarray(file.convert("RGB"))
    for image, left, top in ((shown[0], 12, 42), (shown[7], 12 + 7 * 112, 42), (shown[8], 12, 168)):
        enlarged = image.repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(picture[top : top + 96, left : left + 96], enlarged)


def test_evidence_of_all_photos_has_one_scale_around_0() -> None:
    maps = np.stack([np.full((4, 4), 0.5), np.eye(4) * -3])
    figure = evidence_grid(photos(2), maps, captions(2), "Evidence", ("truck", "automobile"))
    overlays = [
        image
        for image in figure.axes[0].images
        if isinstance(image, AxesImage) and image.get_clim() == (-3, 3)
    ]
    assert len(overlays) == 2
    for overlay, evidence in zip(overlays, maps, strict=True):
        assert overlay.get_array().shape == (96, 96)
        assert overlay.get_array().mean() == pytest.approx(evidence.mean(), abs=0.05)
    readable = words(figure)
    for text in ("evidence for truck", "evidence for automobile", "−3", "0 logits", "+3"):
        assert text in readable


def test_evidence_for_each_class_has_its_color_and_none_leaves_the_photo() -> None:
    figure = evidence_grid(photos(1), np.ones((1, 2, 2)), captions(1), "Evidence", ("a", "b"))
    colors = figure.axes[0].images[-1].get_cmap()
    first, none, second = colors(1.0), colors(0.5), colors(0.0)
    assert first[0] > first[2]  # orange
    assert second[2] > second[0]  # blue
    assert none[3] < 0.05
