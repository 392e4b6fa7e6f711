"""Networks in files for other programs: they answer as the original, or there is no file."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data.errors import UserError
from stages.models.cnn import build_cnn
from stages.models.exporting import FORMATS, check_packages, export, in_batches, opened
from stages.models.network import NetworkClassifier, keras, layers, make_repeatable

RANDOM = np.random.default_rng(0)
CLASSES = ["car", "truck", "bus"]


def gray_cnn() -> keras.Model:
    architecture = {"filters": [3, 4, 5], "kernel_sizes": [3, 3, 3], "dense_units": 4}
    pixels = {"input": "grayscale", "pixel_mean": [0.5], "pixel_std": [0.2]}
    size = {"n_classes": 2, "image_size": 26}
    return build_cnn(**size, **architecture, **pixels, dropout=0.1, batch_norm=True)


def enlarging() -> keras.Model:
    """Small, and with all that MobileNetV2 has and the CNN has not."""
    images = keras.Input((12, 12, 3), dtype="uint8", name="images")
    flow = layers.Rescaling(1 / 255)(images)
    flow = layers.Resizing(32, 32, "bicubic")(flow)
    flow = layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.04, 0.09, 0.04])(flow)
    flow = layers.ZeroPadding2D(((1, 1), (1, 1)))(flow)
    flow = layers.Conv2D(4, 3, strides=2, activation="relu6")(flow)
    flow = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(flow)
    flow = layers.Add()([flow, layers.Dense(4, activation="relu6")(flow)])
    flow = layers.GlobalAveragePooling2D()(flow)
    return keras.Model(images, layers.Dense(3)(flow))


# Photos larger than what the network sees are reduced with Pillow, in whole numbers: where a number
# lies half-way, the file may round it the other way.
NETWORKS: dict[str, tuple[Callable[[], NetworkClassifier], float]] = {
    "two classes, larger photos": (
        lambda: NetworkClassifier(
            *("cnn", CLASSES[:2], {}, gray_cnn()),
            average_with_mirror=True,
            photo_size=61,
            temperature=0.1,
            sure_from=0.75,
        ),
        2e-4,
    ),
    "three classes, enlarged": (
        lambda: NetworkClassifier(
            "mobilenet", CLASSES, {}, enlarging(), average_with_mirror=True, photo_size=12
        ),
        1e-5,
    ),
}


def with_packages(name: str) -> str:
    """The name of a format; the test is skipped where its packages are missing."""
    for package in FORMATS[name].packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (the extra `export`)")
    return name


def noise(side: int, number: int = 12) -> np.ndarray:
    return RANDOM.integers(0, 256, (number, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("made", "tolerance"), NETWORKS.values(), ids=NETWORKS.keys())
def test_a_file_answers_as_its_network_for_any_number_of_images_and_says_what_it_takes(
    made: Callable[[], NetworkClassifier], tolerance: float, name: str, tmp_path: Path
) -> None:
    with_packages(name)
    make_repeatable(0)
    classifier = made()
    images = noise(classifier.photo_size)
    path = tmp_path / f"model{FORMATS[name].suffix}"
    assert export(classifier, path, name, images).changed == 0
    run = opened(path, name)
    wanted = classifier.predict(images)
    assert np.ptp(wanted[:, 0]) > 0.001, "all images get the same answer"
    for given in (in_batches(run, images), run(images), run(images[:1])):
        np.testing.assert_allclose(given, wanted[: len(given)], atol=tolerance)
    assert run(images).dtype == np.float32
    told = told_by(path, name)
    assert told["classes"] == classifier.classes
    assert told["photo_size"] == classifier.photo_size
    assert told["sure_from"] == classifier.sure_from


def told_by(path: Path, name: str) -> dict[str, Any]:
    """What a file says of itself, where its format has a place for it."""
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        (given,) = session.get_inputs()
        assert (given.name, given.type) == ("images", "tensor(uint8)")
        kept = session.get_modelmeta().custom_metadata_map
        return {key: json.loads(value) for key, value in kept.items()}
    beside = path / "assets.extra/about.json" if path.is_dir() else path.with_suffix(".json")
    told: dict[str, Any] = json.loads(beside.read_text())
    return told


class Another(NetworkClassifier):
    """It answers otherwise than its network."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        return super().predict(images)[:, ::-1]


@pytest.fixture
def classifier() -> NetworkClassifier:
    make_repeatable(0)
    return NetworkClassifier(
        "cnn", CLASSES[:2], {}, gray_cnn(), average_with_mirror=False, photo_size=26
    )


@pytest.mark.parametrize(("name", "file"), [("saved_model", "saved_model.pb"), ("tflite", "")])
def test_a_file_that_answers_otherwise_is_not_kept_and_the_one_before_stays(
    name: str, file: str, classifier: NetworkClassifier, tmp_path: Path
) -> None:
    path = tmp_path / f"model{FORMATS[name].suffix}"
    (path / file).parent.mkdir(exist_ok=True)
    (path / file).write_text("before")
    before = files(tmp_path)
    with pytest.raises(UserError, match="not written: 12 of 12 images change their class"):
        export(Another(**vars(classifier)), path, name, noise(26))
    assert files(tmp_path) == before
    export(classifier, path, name, noise(26))
    assert (path / file).read_bytes() != b"before"
    assert not list(tmp_path.glob(".*"))


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_folder_with_files_of_the_user_is_never_replaced(
    classifier: NetworkClassifier, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is a folder with other files; name a new one"):
        export(classifier, mine, "saved_model", noise(26))
    assert files(tmp_path) == {"mine/notes.txt": b"mine"}


def test_a_format_whose_packages_are_missing_is_refused_with_how_to_install_them() -> None:
    if all(importlib.util.find_spec(each) for each in FORMATS["onnx"].packages):
        pytest.skip("the packages for ONNX are installed")
    with pytest.raises(UserError) as refused:
        check_packages("onnx")
    said = str(refused.value)
    assert said.startswith("--format onnx: not installed: ")
    assert said.endswith("`make scale` installs it")
