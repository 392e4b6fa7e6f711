"""The pretrained network computes what its weights were trained for, folded, cut and renamed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data import room
from stages.data.errors import UserError
from stages.data.files import file_hash
from stages.data.splits import Split
from stages.models.finetuning import FineTuned, finetune
from stages.models.loading import load_model
from stages.models.mobilenet import (
    INVERTED_RESIDUALS,
    POOL,
    build_mobilenet,
    cut,
    folded,
    load_pretrained,
)
from stages.models.network import keras, make_repeatable, named_weights
from stages.models.pretrained_weights import obtain_mobilenet, to_keras
from stages.models.storage import save_model
from stages.workflow.params import MobilenetParams, read_params

ROOT = Path(__file__).resolve().parents[2]
SIZE = 96  # pixels
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def random_norm(channels: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    drawn = {
        "gamma": generator.uniform(0.5, 1.5, channels),
        "beta": generator.normal(0, 0.5, channels),
        "moving_mean": generator.normal(0, 0.5, channels),
        "moving_variance": generator.uniform(0.5, 1.5, channels),
    }
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def random_state(seed: int = 0) -> dict[str, np.ndarray]:
    """A PyTorch state dict of MobileNetV2, made from table 2 of the paper."""
    generator = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}

    def add(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"{conv}.weight"] = generator.normal(0, scale, shape).astype(np.float32)
        drawn = random_norm(shape[0], generator)
        state[f"{norm}.weight"], state[f"{norm}.bias"] = drawn["gamma"], drawn["beta"]
        state[f"{norm}.running_mean"] = drawn["moving_mean"]
        state[f"{norm}.running_var"] = drawn["moving_variance"]
        state[f"{norm}.num_batches_tracked"] = np.array(7)

    add("features.0.0", "features.0.1", (32, 3, 3, 3))
    channels, number = 32, 1
    for expansion, out, repeats, _ in INVERTED_RESIDUALS:
        for _ in range(repeats):
            inner = f"features.{number}.conv"
            wide, position = expansion * channels, 0
            if expansion > 1:
                add(f"{inner}.0", f"{inner}.1", (wide, channels, 1, 1))
                position = 3
            add(f"{inner}.{position}", f"{inner}.{position + 1}", (wide, 1, 3, 3))
            add(f"{inner}.{position + 3}", f"{inner}.{position + 4}", (out, wide, 1, 1))
            channels, number = out, number + 1
    add("features.18.0", "features.18.1", (1280, 320, 1, 1))
    state["classifier.1.weight"] = np.zeros((1000, 1280), np.float32)
    state["classifier.1.bias"] = np.zeros(1000, np.float32)
    return state


@pytest.fixture(scope="module")
def stock() -> keras.Model:
    return keras.applications.MobileNetV2((SIZE, SIZE, 3), include_top=False, weights=None)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return to_keras(random_state())


def seen_by(network: keras.Model, layer: str) -> np.ndarray:
    part = keras.Model(network.input, network.get_layer(layer).output)
    answers: np.ndarray = part.predict(IMAGES, verbose=0)
    return answers


def test_the_stock_weights_give_what_keras_gives(
    stock: keras.Model, arrays: dict[str, np.ndarray]
) -> None:
    for weight in stock.weights:
        weight.assign(arrays[weight.path])
    network = build_mobilenet(
        image_size=32, n_classes=2, input_size=SIZE, variant="keras", dropout=0.2
    )
    load_pretrained(network, arrays, "keras")
    prepared = seen_by(network, "standardize")
    enlarged = seen_by(network, "enlarge")
    preprocess = keras.applications.mobilenet_v2.preprocess_input
    np.testing.assert_allclose(prepared, preprocess(255 * enlarged), atol=1e-5)
    expected = stock.predict(prepared, verbose=0).mean(axis=(1, 2))
    found = seen_by(network, POOL)
    assert expected.std() > 0.1  # neither dead nor saturated
    assert np.abs(found - expected).max() < 1e-4 * expected.max()
    np.testing.assert_allclose(seen_by(network, "Conv_1").mean(axis=(1, 2)), found, atol=1e-5)


def test_pixels_are_normalized_as_the_torch_weights_expect() -> None:
    network = build_mobilenet(
        image_size=32, n_classes=2, input_size=SIZE, variant="torch", dropout=0.2
    )
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    enlarged = seen_by(network, "enlarge")
    np.testing.assert_allclose(seen_by(network, "standardize"), (enlarged - mean) / std, atol=1e-5)


def test_every_weight_of_keras_gets_one_of_torch_and_none_is_left(
    stock: keras.Model, arrays: dict[str, np.ndarray]
) -> None:
    expected = {weight.path: tuple(weight.shape) for weight in stock.weights}
    assert {name: array.shape for name, array in arrays.items()} == expected
    assert len(arrays) == 260
    assert sum(array.size for array in arrays.values()) == 2_257_984
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    state = random_state()
    np.testing.assert_array_equal(
        arrays["Conv1/kernel"][2, 1, 0, 5], state["features.0.0.weight"][5, 0, 2, 1]
    )
    np.testing.assert_array_equal(
        arrays["block_3_depthwise/kernel"][0, 2, 7, 0],
        state["features.4.conv.3.weight"][7, 0, 0, 2],
    )


def test_a_file_of_stock_weights_is_read_by_keras(
    stock: keras.Model, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for weight in stock.weights:
        weight.assign(arrays[weight.path])
    path = tmp_path / "stock.weights.h5"
    stock.save_weights(path)
    variant, found = obtain_mobilenet(str(path), file_hash(path, "sha256"), tmp_path)
    assert variant == "keras"
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"stock\.weights\.h5: cannot be loaded"):
        obtain_mobilenet(str(path), file_hash(path, "sha256"), tmp_path)


@pytest.mark.parametrize(
    "name", ["features.0.0.weight", "features.1.conv.4.running_var", "features.18.1.bias"]
)
def test_weights_that_lack_an_array_are_refused_by_its_name(name: str) -> None:
    state = random_state()
    del state[name]
    with pytest.raises(UserError, match=f"not the weights of a MobileNetV2: {name} is missing"):
        to_keras(state)


def test_weights_of_a_larger_network_are_refused() -> None:
    state = random_state()
    state["features.19.0.weight"] = np.zeros(3, np.float32)
    with pytest.raises(UserError, match=r"features\.19\.0\.weight is left over"):
        to_keras(state)


def test_weights_of_a_narrower_network_are_refused() -> None:
    state = random_state()  # alpha 0.5 and the like have the same names, and other shapes
    state["features.18.0.weight"] = state["features.18.0.weight"][:640]
    with pytest.raises(UserError, match=r"features\.18\.0\.weight|Conv_1"):
        load_pretrained(
            build_mobilenet(
                image_size=32, n_classes=2, input_size=32, variant="torch", dropout=0.0
            ),
            to_keras(state),
            "torch",
        )


def test_incomplete_weights_never_leave_a_layer_untrained(arrays: dict[str, np.ndarray]) -> None:
    network = build_mobilenet(
        image_size=32, n_classes=2, input_size=32, variant="torch", dropout=0.0
    )
    incomplete = {name: array for name, array in arrays.items() if name != "Conv1/kernel"}
    with pytest.raises(UserError, match="Conv1"):
        load_pretrained(network, incomplete, "torch")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-5, 1e-3]))
def test_folding_changes_no_answer(seed: int, epsilon: float) -> None:
    generator = np.random.default_rng(seed)
    full, depthwise = ("Conv1", "bn_Conv1", (3, 3, 3, 6)), ("block_2_depthwise", None, (3, 3, 4, 1))
    pointwise = ("block_2_project", None, (1, 1, 5, 7))
    for layer, norm, shape in (full, depthwise, pointwise):
        channels = shape[2] if shape[3] == 1 else shape[3]
        drawn = random_norm(channels, generator)
        drawn["moving_variance"][0] = 1e-44  # as of the dead channels in the real weights
        kernel = generator.normal(size=shape).astype(np.float32)
        given_arrays = {f"{norm or f'{layer}_BN'}/{name}": drawn[name] for name in drawn}
        new_kernel, bias = folded({**given_arrays, f"{layer}/kernel": kernel}, layer, epsilon)
        assert new_kernel.shape == shape
        assert new_kernel.dtype == bias.dtype == np.float32

        patch = generator.normal(size=shape[:3])
        across = (0, 1) if shape[3] == 1 else (0, 1, 2)
        wide = patch[..., None]
        conv = (wide * kernel.astype(np.float64)).sum(axis=across).ravel()
        double = {name: values.astype(np.float64) for name, values in drawn.items()}
        deviation = np.sqrt(double["moving_variance"] + epsilon)
        normed = double["gamma"] * (conv - double["moving_mean"]) / deviation + double["beta"]
        found = (wide * new_kernel.astype(np.float64)).sum(axis=across).ravel() + bias
        # What float32 can hold of a kernel and a bias of this size.
        size = np.abs(wide * new_kernel.astype(np.float64)).sum(axis=across).ravel() + np.abs(bias)
        assert (np.abs(found - normed) <= 1e-6 * (size + 1)).all()


@pytest.mark.parametrize("block", [2, 13, 17])
def test_the_pieces_together_are_the_whole_network(
    block: int, arrays: dict[str, np.ndarray]
) -> None:
    network = build_mobilenet(
        image_size=32, n_classes=3, input_size=SIZE, variant="torch", dropout=0.2
    )
    load_pretrained(network, arrays, "torch")
    parts = cut(network, block)
    whole = network.predict(IMAGES, verbose=0)
    at_cut = parts.frozen.predict(IMAGES, verbose=0)
    assert whole.shape == (3, 3)
    np.testing.assert_allclose(parts.trainable.predict(at_cut, verbose=0), whole, atol=1e-5)
    pooled = parts.upper.predict(at_cut, verbose=0)
    assert pooled.shape == (3, 1280)
    np.testing.assert_allclose(parts.head.predict(pooled, verbose=0), whole, atol=1e-5)
    # Every weight is on one side, and the cut is where the setting says.
    below, above = (
        {weight.path for weight in part.weights} for part in (parts.frozen, parts.trainable)
    )
    assert not below & above
    assert below | above == {weight.path for weight in network.weights}
    assert f"block_{block - 1}_project/kernel" in below
    assert ("Conv_1/kernel" if block == 17 else f"block_{block}_expand/kernel") in above


def draw_split(n: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = generator.integers(0, 156, (n, 32, 32, 3)) + 100 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels, np.arange(n), ["automobile", "truck"])


def params(**changes: Any) -> MobilenetParams:
    quick = {"input_size": 32, "first_trainable_block": 16, "head_epochs": 2, "epochs": 2}
    return read_params(ROOT / "params.yaml").mobilenet.model_copy(
        update={**quick, "batch_size": 8, **changes}
    )


def finetune_small(arrays: dict[str, np.ndarray], **changes: Any) -> FineTuned:
    return finetune(
        draw_split(24, 0),
        draw_split(10, 1),
        {**arrays, "variant": np.array("torch")},
        params(**changes),
        lambda *_: None,
        class_weights=None,
    )


@pytest.fixture(scope="module")
def tuned(arrays: dict[str, np.ndarray]) -> FineTuned:
    return finetune_small(arrays)


def test_fine_tuning_changes_the_upper_blocks_and_leaves_the_lower_ones(
    tuned: FineTuned, arrays: dict[str, np.ndarray]
) -> None:
    before = build_mobilenet(
        image_size=32, n_classes=2, input_size=32, variant="torch", dropout=0.0
    )
    load_pretrained(before, arrays, "torch")
    old, new = named_weights(before), named_weights(tuned.classifier.network)
    lower = {f"block_{block}_" for block in range(1, 16)} | {"Conv1/", "expanded_conv_"}
    for path, weight in old.items():
        is_lower = any(path.startswith(prefix) for prefix in lower)
        assert np.array_equal(weight, new[path]) == is_lower, path
    assert tuned.curves["epoch"].tolist() == [1, 2, 3, 4]


def test_the_measured_answers_are_those_of_the_model_that_is_kept(
    tuned: FineTuned, tmp_path: Path
) -> None:
    # The frozen blocks' answers were kept in float16.
    for split, measured in (
        (draw_split(24, 0), tuned.train_probabilities),
        (draw_split(10, 1), tuned.validation_probabilities),
    ):
        np.testing.assert_allclose(tuned.classifier.predict(split.images), measured, atol=0.02)
    save_model(tmp_path / "mobilenet.npz", tuned.classifier)
    loaded = load_model(tmp_path / "mobilenet.npz")
    images = draw_split(10, 1).images
    np.testing.assert_array_equal(loaded.predict(images), tuned.classifier.predict(images))


def test_the_same_seed_fine_tunes_the_same_network_bit_for_bit(
    tuned: FineTuned, arrays: dict[str, np.ndarray]
) -> None:
    make_repeatable(99)  # whatever was drawn before
    again = finetune_small(arrays)
    new = named_weights(again.classifier.network)
    for path, weight in named_weights(tuned.classifier.network).items():
        np.testing.assert_array_equal(weight, new[path], strict=True)
    assert again.curves.equals(tuned.curves)


def test_what_does_not_fit_the_memory_is_kept_on_disk_and_gives_the_same_network(
    tuned: FineTuned,
    arrays: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "MEMORY_LIMIT", 1000)
    again = finetune_small(arrays)
    for path, weight in named_weights(tuned.classifier.network).items():
        np.testing.assert_array_equal(
            weight, named_weights(again.classifier.network)[path], strict=True
        )
    assert (tmp_path / "data").is_dir(), "nothing was kept on disk"
    assert list((tmp_path / "data").iterdir()) == [], "a file is left behind"


def test_too_little_disk_for_what_does_not_fit_the_memory_is_told_before_the_work(
    arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "MEMORY_LIMIT", 1000)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(
        UserError, match=r"GiB are needed for a while and 0\.0 are free; free space"
    ):
        finetune_small(arrays)
