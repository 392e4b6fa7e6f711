"""`export`: what a person gets who asks for a file, and in a line why there is none."""

import json

import pytest

from stages.models.cnn import build_cnn
from stages.models.network import NetworkClassifier, make_repeatable
from stages.models.storage import save_model
from tests.pipeline.conftest import Project


def test_a_network_is_exported_and_the_person_told_how_near_it_is(tiny: Project) -> None:
    make_repeatable(0)
    settings = {
        "n_classes": 2,
        "image_size": 32,
        "input": "color",
        "dense_units": 4,
        "dropout": 0.0,
        "filters": [4, 4, 4],
        "kernel_sizes": [3, 3, 3],
        "batch_norm": False,
        "pixel_mean": [0.5] * 3,
        "pixel_std": [0.2] * 3,
    }
    classifier = NetworkClassifier(
        *("cnn", ["automobile", "truck"], settings, build_cnn(**settings)),
        average_with_mirror=True,
        photo_size=32,
    )
    save_model(tiny.folder / "mine.npz", classifier)
    told = tiny.python("-m", "stages", "export", "--format", "tflite", "--model", "mine.npz").stdout
    assert told.startswith("exported/cnn.tflite: answers as the original on 20 validation images; ")
    made = {path.name for path in (tiny.folder / "exported").iterdir()}
    assert made == {"cnn.tflite", "cnn.json"}
    about = json.loads((tiny.folder / "exported" / "cnn.json").read_text())
    assert about["classes"] == ["automobile", "truck"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "baseline"], "--model: least squares is no network"),
        (["--model", "no-such"], "--model no-such: there is no such model or file"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    tiny: Project, arguments: list[str], said: str
) -> None:
    command = ("-m", "stages", "export", "--format", "saved_model", *arguments)
    finished = tiny.python(*command, check=False)
    assert finished.returncode == 2
    errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR: ")]
    assert [line.startswith(f"ERROR: {said}") for line in errors] == [True]
    assert not (tiny.folder / "exported").exists()
