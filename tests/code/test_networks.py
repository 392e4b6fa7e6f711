"""The CNN is the lecture's, trains the same twice, and comes back from its file as it was."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data.errors import UserError
from stages.data.splits import Split
from stages.models.cnn import build_cnn, response_maps, train_cnn
from stages.models.loading import load_model
from stages.models.network import NetworkClassifier, keras, make_repeatable, named_weights
from stages.models.storage import HEADER, save_model
from stages.models.training import Batches, compile_network, targets, train
from stages.workflow.params import CnnRecipe, read_params

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["automobile", "truck", "cat"]
SMALL = {"filters": [4, 5, 6], "kernel_sizes": [3, 3, 3], "dense_units": 8}
SETTINGS: dict[str, Any] = {
    "n_classes": 2,
    "input": "color",
    "pixel_mean": [0.5] * 3,
    "pixel_std": [0.25] * 3,
    "dropout": 0.5,
    "batch_norm": False,
    "image_size": 32,
    **SMALL,
}


def recipe(**changes: Any) -> CnnRecipe:
    quick = {**SMALL, "epochs": 1, "batch_size": 16, "average_with_mirror": False}
    given = read_params(ROOT / "params.yaml").cnn.default.model_dump()
    return CnnRecipe(**{**given, **quick, **changes})


def draw_split(n: int, n_classes: int, seed: int) -> Split:
    """Noise, brighter in a part of the picture that depends on the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    images = generator.integers(0, 120, (n, 32, 32, 3))
    for label in range(n_classes):
        images[labels == label, 10 * label : 10 * label + 10] += 135
    return Split(images.astype(np.uint8), labels, np.arange(n), CLASSES[:n_classes])


def train_small(
    seed: int, n_classes: int = 2, **changes: Any
) -> tuple[NetworkClassifier, Any, list[tuple[int, dict[str, float]]]]:
    reports: list[tuple[int, dict[str, float]]] = []
    classifier, curves = train_cnn(
        draw_split(64, n_classes, 0),
        draw_split(20, n_classes, 1),
        recipe(**changes),
        seed,
        lambda epoch, measures: reports.append((epoch, measures)),
        image_size=32,
        class_weights=None,
    )
    return classifier, curves, reports


def lecture_network(**changes: Any) -> keras.Model:
    channels = 1 if changes.get("input") == "grayscale" else 3
    settings = {
        **SETTINGS,
        "filters": [32, 64, 64],
        "kernel_sizes": [7, 5, 3],
        "dense_units": 64,
        "pixel_mean": [0.0] * channels,
        "pixel_std": [1.0] * channels,
    }
    return build_cnn(**{**settings, **changes})


def test_the_network_has_the_size_of_the_lectures() -> None:
    # 32 pixels - 6 = 26, pooled 13, - 4 = 9, pooled 4, - 2 = 2: 2 x 2 x 64 = 256 values.
    above_first = (5 * 5 * 32 * 64 + 64) + (3 * 3 * 64 * 64 + 64) + (256 * 64 + 64) + (64 + 1)
    color = (7 * 7 * 3 * 32 + 32) + above_first
    gray = (7 * 7 * 1 * 32 + 32) + above_first
    assert (color, gray) == (109_441, 106_305)
    assert lecture_network().count_params() == color
    assert lecture_network(input="grayscale").count_params() == gray
    # For ten classes a unit each; batch normalization has four numbers a filter.
    assert lecture_network(n_classes=10).count_params() == color + 9 * (64 + 1)
    assert lecture_network(batch_norm=True).count_params() == color + 4 * (32 + 64 + 64)


@pytest.mark.parametrize(("n_classes", "units"), [(2, 1), (3, 3), (10, 10)])
def test_two_classes_have_one_output_and_more_have_one_each(n_classes: int, units: int) -> None:
    network = build_cnn(**{**SETTINGS, "n_classes": n_classes})
    assert network.input.dtype == "uint8"
    assert network.output.shape == (None, units)


def test_the_network_sees_what_the_settings_say() -> None:
    images = draw_split(3, 2, 5).images
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    network = build_cnn(**{**SETTINGS, "pixel_mean": mean, "pixel_std": std})
    seen = keras.Model(network.input, network.get_layer("standardize").output)
    expected = (images / 255 - mean) / std
    np.testing.assert_allclose(seen.predict(images, verbose=0), expected, atol=1e-5)
    gray = build_cnn(**{**SETTINGS, "input": "grayscale", "pixel_mean": [0.0], "pixel_std": [1.0]})
    seen = keras.Model(gray.input, gray.get_layer("standardize").output)
    luma = images @ np.array([0.2989, 0.5870, 0.1140]) / 255
    np.testing.assert_allclose(seen.predict(images, verbose=0)[..., 0], luma, atol=1e-4)


def test_pooling_before_the_relu_gives_what_the_lectures_order_gives() -> None:
    layers = keras.layers
    network = lecture_network(pixel_mean=[0.5] * 3)
    images = draw_split(4, 2, 3).images
    flow = images.astype(np.float32) / 255 - 0.5
    for index, name in enumerate(("conv_1", "conv_2", "conv_3")):
        flow = layers.ReLU()(network.get_layer(name)(flow))
        flow = layers.MaxPooling2D(2)(flow) if index < 2 else flow
    expected = network.get_layer("logits")(network.get_layer("dense")(layers.Flatten()(flow)))
    found = network.predict(images, verbose=0)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("input_kind", ["color", "grayscale"])
def test_standardized_training_pixels_have_mean_0_and_deviation_1(input_kind: str) -> None:
    classifier, _, _ = train_small(0, input=input_kind, standardize=True)
    network = classifier.network
    seen = keras.Model(network.input, network.get_layer("standardize").output)
    pixels = seen.predict(draw_split(64, 2, 0).images, verbose=0)
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), 1, atol=1e-4)


def test_targets_fit_the_outputs() -> None:
    labels = np.array([1, 0, 1])
    np.testing.assert_array_equal(
        targets(labels, 2), np.array([[1], [0], [1]], np.float32), strict=True
    )
    three = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_array_equal(targets(labels, 3), three, strict=True)


@pytest.mark.parametrize("changes", [{}, {"n_classes": 3, "batch_norm": True}])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_stored_network_answers_bit_for_bit_the_same(
    tmp_path: Path,
    changes: dict[str, Any],
    mirror: bool,
) -> None:
    settings = {**SETTINGS, **changes}
    names = CLASSES[: settings["n_classes"]]
    classifier = NetworkClassifier("cnn", names, settings, build_cnn(**settings), mirror, 32, 0.7)
    paths = [tmp_path / "first.npz", tmp_path / "second.npz", tmp_path / "again.npz"]
    save_model(paths[0], classifier)
    save_model(paths[1], classifier)
    loaded = load_model(paths[0])
    save_model(paths[2], loaded)
    assert len({path.read_bytes() for path in paths}) == 1
    assert loaded.classes == names
    images = draw_split(23, 2, 6).images  # not a multiple of the batch
    expected = classifier.predict(images)
    assert expected.shape == (23, len(names))
    np.testing.assert_array_equal(loaded.predict(images), expected, strict=True)


def test_an_image_and_its_mirror_image_get_one_answer_if_that_is_asked_for() -> None:
    network = build_cnn(**SETTINGS)
    images = draw_split(20, 2, 7).images
    mirrored = images[:, :, ::-1]
    both = NetworkClassifier("cnn", CLASSES[:2], SETTINGS, network, True, 32)
    np.testing.assert_allclose(both.predict(images), both.predict(mirrored), atol=1e-6)
    one = NetworkClassifier("cnn", CLASSES[:2], SETTINGS, network, False, 32)
    assert np.abs(one.predict(images) - one.predict(mirrored)).max() > 1e-4


@pytest.mark.parametrize("change", ["lacks one", "has one more", "has another shape"])
def test_weights_that_do_not_fit_are_a_plain_message(tmp_path: Path, change: str) -> None:
    path = tmp_path / "cnn.npz"
    save_model(
        path, NetworkClassifier("cnn", CLASSES[:2], SETTINGS, build_cnn(**SETTINGS), False, 32)
    )
    with np.load(path) as archive:
        arrays = dict(archive)
    match change:
        case "lacks one":
            del arrays["conv_2/bias"]
        case "has one more":
            arrays["conv_2/scale"] = np.zeros(5, np.float32)
        case _:
            arrays["conv_2/bias"] = np.zeros(6, np.float32)
    np.savez(path, **arrays)
    with pytest.raises(
        UserError, match=r"stored cnn does not fit .*conv_2/(bias|scale).*dvc repro"
    ):
        load_model(path)


def test_settings_of_another_version_of_the_code_are_a_plain_message(tmp_path: Path) -> None:
    path = tmp_path / "cnn.npz"
    save_model(
        path, NetworkClassifier("cnn", CLASSES[:2], SETTINGS, build_cnn(**SETTINGS), False, 32)
    )
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays[HEADER]))
    header["settings"]["residual"] = True
    np.savez(path, **{**arrays, HEADER: np.array(json.dumps(header))})
    with pytest.raises(UserError, match="does not fit this version"):
        load_model(path)


def test_the_same_seed_trains_the_same_network_bit_for_bit_and_another_seed_another() -> None:
    results = [train_small(seed, batch_norm=True) for seed in (3, 3, 4)]
    first, again, other = (named_weights(classifier.network) for classifier, _, _ in results)
    for path, weight in first.items():
        np.testing.assert_array_equal(weight, again[path], strict=True)
    assert any((weight != other[path]).any() for path, weight in first.items())
    assert results[0][1].equals(results[1][1])
    assert not results[0][1].equals(results[2][1])


@pytest.mark.parametrize(
    ("optimizer", "rate", "n_classes"),
    [("rmsprop", 0.002, 2), ("adamw", 0.005, 3), ("sgd", 0.02, 2)],
)
def test_it_learns_what_can_be_learned(optimizer: str, rate: float, n_classes: int) -> None:
    changes = {"optimizer": optimizer, "learning_rate": rate, "epochs": 6, "batch_size": 8}
    still = {"shift": 0, "dropout": 0.0, "warmup": 0.0, "weight_averaging": 0.5}
    classifier, curves, reports = train_small(1, n_classes, **changes, **still)
    validation = draw_split(20, n_classes, 1)
    answers = classifier.predict(validation.images).argmax(axis=1)
    assert (answers == validation.labels).mean() > 0.9
    assert curves["epoch"].tolist() == list(range(1, 7)) == [epoch for epoch, _ in reports]
    measures = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert list(curves.columns) == ["epoch", *measures]
    assert curves[measures].to_dict("records") == [measured for _, measured in reports]


def test_a_training_that_diverges_is_not_taken_for_a_result() -> None:
    # Each of 32 steps multiplies the weights by 1 - 10 x 10.
    wild = {"learning_rate": 10.0, "weight_decay": 10.0, "epochs": 4, "batch_size": 8}
    said = r"diverged: in epoch \d train_loss is (nan|inf); lower the learning rate .*, 10.0$"
    with pytest.raises(UserError, match=said):
        train_small(1, optimizer="sgd", batch_norm=False, warmup=0.0, schedule="constant", **wild)


def test_the_last_row_of_the_curves_is_the_network_that_is_kept() -> None:
    # With averaging too: the weights are exchanged for each measurement, and kept at the end.
    for averaging in (0.0, 0.9):
        classifier, curves, _ = train_small(2, epochs=3, weight_averaging=averaging)
        validation = draw_split(20, 2, 1)
        # The curves are of before the temperature was chosen.
        as_trained = replace(classifier, temperature=1.0)
        own = as_trained.predict(validation.images)[np.arange(20), validation.labels]
        assert curves["validation_loss"].iloc[-1] == pytest.approx(-np.log(own).mean(), abs=1e-5)


def test_averaging_keeps_the_moving_average_of_the_weights_of_each_step() -> None:
    momentum, split = 0.8, draw_split(8, 2, 0)
    settings = recipe(
        epochs=5,
        batch_size=8,
        weight_averaging=momentum,
        dropout=0.0,
        schedule="constant",
        warmup=0.0,
        learning_rate=0.01,
    )
    make_repeatable(0)
    network = build_cnn(**SETTINGS)
    batches = Batches(lambda chosen, _: split.images[chosen], targets(split.labels, 2), 8, 0)
    compile_network(network, settings, 100)  # of fewer steps the average would be shorter
    seen: list[dict[str, np.ndarray]] = []  # a step is an epoch here
    goal = (split.images, targets(split.labels, 2))
    train(network, batches, goal, settings, lambda *_: seen.append(named_weights(network)))
    kept = named_weights(network)
    for path, last in seen[-1].items():
        average = seen[0][path]
        for step in seen[1:]:
            average = momentum * average + (1 - momentum) * step[path]
        np.testing.assert_allclose(kept[path], average, rtol=0, atol=2e-6)
        assert np.abs(kept[path] - last).max() > 1e-4, path


@pytest.mark.parametrize(("steps", "momentum"), [(1000, 0.99), (100, 0.95), (3, 0.0)])
def test_the_average_spans_no_more_than_a_fifth_of_the_training(
    steps: int, momentum: float
) -> None:
    network = lecture_network()
    compile_network(network, recipe(weight_averaging=0.99), steps)
    assert network.optimizer.ema_momentum == pytest.approx(momentum)


def test_a_training_step_is_traced_once_and_no_tuning_thread_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, settings = lecture_network(), recipe(epochs=2, weight_averaging=0.9)
    goal = targets(np.arange(30) % 2, 2)
    images = np.zeros((30, 32, 32, 3), np.uint8)
    batches = Batches(lambda chosen, _generator: images[chosen], goal, 8, 0)
    compile_network(network, settings, 8)
    traced, apply = [], network.optimizer.apply_gradients
    monkeypatch.setattr(
        network.optimizer, "apply_gradients", lambda each: traced.append(apply(each))
    )
    fed, fit = [], network.fit

    def spy(feed: Any, **options: Any) -> Any:
        fed.extend([feed, options["validation_data"]])
        return fit(feed, **options)

    monkeypatch.setattr(network, "fit", spy)
    train(network, batches, (images[:5], goal[:5]), settings, lambda *_: None)
    assert len(traced) == 1
    assert [each.options().autotune.enabled for each in fed] == [False, False]


def rates(steps: int, **changes: Any) -> list[float]:
    """Learning rates before each step and after the last."""
    inputs = keras.Input((1,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    compile_network(network, recipe(learning_rate=0.5, **changes), steps)
    found = []
    for step in range(steps + 1):
        network.optimizer.iterations.assign(step)
        found.append(float(network.optimizer.learning_rate))
    return found


@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.9])
def test_the_learning_rate_rises_falls_along_a_cosine_and_ends_at_zero(warmup: float) -> None:
    found = rates(20, schedule="cosine", warmup=warmup)
    rising = round(20 * warmup)
    falling = np.arange(20 - rising + 1) / (20 - rising)
    expected = [
        *(0.5 * np.arange(rising) / max(rising, 1)),
        *(0.25 * (1 + np.cos(np.pi * falling))),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[-1] == pytest.approx(0, abs=1e-7)
    assert max(found) == pytest.approx(0.5)


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_a_constant_learning_rate_stays_once_it_has_risen(warmup: float) -> None:
    found = rates(20, schedule="constant", warmup=warmup)
    rising = round(20 * warmup)
    expected = [*(0.5 * np.arange(rising) / max(rising, 1)), *[0.5] * (21 - rising)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_even_a_training_of_one_step_that_is_all_warmup_has_a_learning_rate(schedule: str) -> None:
    assert np.isfinite(rates(1, schedule=schedule, warmup=0.99)).all()


def test_every_epoch_shows_each_image_once_in_a_new_order() -> None:
    labels = np.arange(10)
    batches = Batches(lambda chosen, _: chosen, labels[:, None], 4, seed=0)
    assert len(batches) == 3
    orders = []
    for _ in range(2):
        steps = [batches.draw(step) for step in range(len(batches))]
        assert [len(chosen) for chosen, _ in steps] == [4, 4, 2]
        for chosen, goals in steps:
            np.testing.assert_array_equal(goals[:, 0], labels[chosen])
        orders.append(np.concatenate([chosen for chosen, _ in steps]).tolist())
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0] != orders[1]


def test_the_pictures_show_the_responses_of_the_filters() -> None:
    network = build_cnn(**SETTINGS)
    image = draw_split(1, 2, 0).images[0]
    maps = response_maps(network, image)
    shapes = {name: responses.shape for name, responses in maps.items()}
    assert shapes == {"conv_1": (4, 15, 15), "conv_2": (5, 6, 6), "conv_3": (6, 4, 4)}
    seen, kernel = (image / 255 - 0.5) / 0.25, network.get_layer("conv_1").kernel.numpy()
    answers = [  # at the four places that are pooled to row 5, column 2
        (seen[y : y + 3, x : x + 3] * kernel[..., 2]).sum() for y in (10, 11) for x in (4, 5)
    ]
    assert maps["conv_1"][2, 5, 2] == pytest.approx(max(*answers, 0), abs=1e-4)


def test_loading_tensorflow_says_nothing_unless_it_fails() -> None:
    code = """if True:
        import contextlib, os
        from stages.models import network
        with contextlib.suppress(ImportError), network.quiet():
            os.write(2, b"no such library")
            raise ImportError
        with network.quiet():
            os.write(2, b"all is well")
    """
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert finished.stderr == "no such library"
