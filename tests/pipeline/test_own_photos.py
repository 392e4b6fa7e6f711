"""Photos of one's own instead of CIFAR-10: the same pipeline, on folders as people have them."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.__main__ import STAGES
from stages.data.cifar10 import CLASS_NAMES
from stages.data.files import read_arrays
from stages.models.loading import load_model
from stages.models.names import MODELS
from tests.pipeline.conftest import Project, run_stages

SPLITS = ("train", "validation", "test")
MakeClone = Callable[[], Project]


def prepared(project: Project) -> dict[str, dict[str, np.ndarray]]:
    return {name: read_arrays(project.folder / f"data/prepared/{name}.npz") for name in SPLITS}


def write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def test_a_folder_of_cifar10s_images_gives_the_same_images_and_the_same_answers(
    clone: MakeClone,
) -> None:
    project = clone()
    built_in = prepared(project)
    models = [project.folder / f"data/models/{name}.npz" for name in ("baseline", "cnn")]
    trained = [model.read_bytes() for model in models]
    for name, split in built_in.items():
        part = "test" if name == "test" else "train"
        for image, label, index in zip(
            split["images"], split["labels"], split["indices"], strict=True
        ):
            path = f"photos/{part}/{split['classes'][label]}/{index:05}.png"
            write_png(project.folder / path, image)
    project.set_params("data.source=folder", "data.folder=photos", "data.limit_per_class=null")
    run_stages(project, ["prepare", "train_baseline", "train_cnn"])
    for name, split in prepared(project).items():
        numbers = [int(Path(str(index)).stem) for index in split["indices"]]
        assert numbers == built_in[name]["indices"].tolist()
        for key in ("images", "labels", "classes"):
            np.testing.assert_array_equal(split[key], built_in[name][key], strict=True)
    # Stages read no more of photos than this.
    assert [model.read_bytes() for model in models] == trained


COUNTS = {"boat": 60, "cat": 30, "red van": 15}  # "red van" has 5 vans, 3 frames of each
SHOWN = {"boat": "ship", "cat": "cat", "red van": "truck"}
ENDS = (".jpg", ".png", ".webp", ".gif")


@pytest.fixture
def odd_photos(clone: MakeClone) -> Iterator[Project]:
    """A project with photos of many sizes and formats, three classes, frames, broken files."""
    project = clone()
    folder = project.folder / "photos"
    data = read_arrays(project.folder / "data/cifar10.npz")
    generator = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True)
        own = data["train_images"][data["train_labels"] == CLASS_NAMES.index(SHOWN[name])]
        for number in range(count):
            width, height = generator.integers(40, 130, 2).tolist()
            photo = Image.fromarray(own[number]).resize((width, height))
            frame = f"van{number // 3}_{number % 3}" if name == "red van" else f"img_{number}"
            photo.save(folder / name / f"{frame}{ENDS[number % len(ENDS)]}")
    whole = (folder / "cat/img_0.jpg").read_bytes()
    (folder / "cat/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cat/text.jpg").write_text("no photo")
    (folder / "boat/empty.png").touch()
    (folder / "boat/.DS_Store").touch()
    Image.fromarray(data["train_images"][7]).resize((400, 40)).save(folder / "boat/long.png")
    project.set_params(
        *("data.source=folder", "data.folder=photos", "data.classes=all"),
        *("data.group_pattern=(van\\d+)_", "data.limit_per_class=null", "data.photo_size=64"),
        *("data.image_size=40", "data.class_weights=balanced", "data.validation_fraction=0.25"),
        *("mobilenet.batch_size=16", "mobilenet.head_epochs=10", "mobilenet.epochs=4"),
        *("evaluation.robustness_images=10", "baseline.ridge=100.0"),
        *("gate.floors={}", "gate.ceilings={}"),
    )
    return project


def test_odd_photos_of_three_unbalanced_classes_go_all_the_way(odd_photos: Project) -> None:
    project = odd_photos
    told = project.run("dvc", "repro", "prepare").stderr
    assert "WARNING: photos: files that are left out: 3 (" in told
    assert re.search(r"cat/text\.jpg is no photo", told)
    assert "3 times as long as wide, which become squares: 1 (boat/long" in told
    assert "fewer than 50 photos of cat, red van" in told
    assert "the classes are unbalanced: 61 of boat, 15 of red van; data.class_weights" in told
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert "prepare" not in status
    (project.folder / "photos/cat/another.png").write_bytes(
        (project.folder / "photos/cat/img_1.png").read_bytes()
    )
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert {"changed deps": {"photos": "modified"}} in status["prepare"]

    run_stages(project, [name for name in STAGES if name != "fetch_mobilenet"])
    splits = prepared(project)
    indices = {name: {str(each) for each in split["indices"]} for name, split in splits.items()}
    vans = [{re.sub("_.*", "", each) for each in own if "van" in each} for own in indices.values()]
    assert sorted(map(len, vans)) == [1, 1, 3], "frames of one van are in two splits"
    twins = {"cat/another.png", "cat/img_1.png"}
    assert sum(bool(twins & own) for own in indices.values()) == 1
    assert {each["images"].shape[1:] for each in splits.values()} == {(64, 64, 3)}
    counted = json.loads((project.folder / "metrics/prepare.json").read_text())
    assert counted["folder"] == {
        "files": 110,
        "unreadable": 3,
        "long": 1,
        "small": 0,
        "photo_size": 64,
        "equal": 1,
        "contradictory": 0,
    }

    measured = json.loads((project.folder / "metrics/evaluate.json").read_text())
    headline = json.loads((project.folder / "metrics/summary.json").read_text())
    for name in MODELS:
        model = load_model(project.folder / f"data/models/{name}.npz")
        assert (model.classes, model.photo_size) == ([*COUNTS], 64)
        assert headline[f"{name}_test"] == measured[name]["balanced_accuracy"]
    assert measured["mobilenet"]["balanced_accuracy"] > 0.5
    table = pd.read_csv(project.folder / "metrics/predictions.csv")
    assert set(table["index"]) == indices["test"]
    assert {run.data.tags["stage"] for run in project.runs()} == {*STAGES} - {"fetch_mobilenet"}

    project.run("dvc", "commit", "--force", "--quiet")
    project.commit("photos")
    assert "mean of the classes" in project.python("-m", "stages", "results").stdout
    project.python("-m", "stages", "report")
    for page in ("report/report.html", "docs/model_card.md"):
        text = (project.folder / page).read_text()
        assert "red van" in text
        assert "CIFAR" not in text.replace("sources.cifar10", "").replace("fetch_cifar10", "")
    compared = project.python("-m", "stages", "compare", "HEAD", check=False).stdout
    assert "3 models: 3 same" in compared

    accepted = project.python("-m", "stages", "champion").stdout
    assert "boat-or-cat-or-red van version 1" in accepted
    some = ["photos/boat/img_1.png", "photos/red van/van1_0.gif"]
    asked = project.python("-m", "stages", "predict", "--format", "jsonl", *some)
    said = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [each["file"] for each in said] == some
    assert {each["prediction"] for each in said} <= {*COUNTS}
