"""`python -m stages predict`: an answer for each photo, whatever lies among them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.models.loading import load_model
from tests.pipeline.conftest import Project
from tests.pipeline.tiny import MODEL

BRIGHT, DARK = 255, 0  # the tiny model calls these truck and automobile


def photo(path: Path, value: int, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (value,) * 3).save(path)


def predict(project: Project, *arguments: str) -> Any:
    command = ("-m", "stages", "predict", "--model", "baseline", *arguments)
    return project.python(*command, check=False)


@pytest.fixture
def photos(tiny: Project) -> Project:
    """A project with a folder of photos and of what is none."""
    folder = tiny.folder / "photos"
    photo(folder / "bright.png", BRIGHT)
    photo(folder / "sub" / "dark.jpg", DARK, side=500)
    photo(folder / "sub" / "gray.png", 128)
    (folder / "notes.txt").write_text("no photo, and nobody says it is")
    return tiny


def test_folders_files_and_patterns_are_predicted_as_the_model_predicts_them(
    photos: Project,
) -> None:
    finished = predict(photos, "photos", "photos/*.png", "photos/sub/dark.jpg")
    assert finished.returncode == 0, finished.stderr
    rows = list(csv.DictReader(io.StringIO(finished.stdout)))
    bright, dark = "photos/bright.png", "photos/sub/dark.jpg"
    assert [row["file"] for row in rows] == [bright, dark, "photos/sub/gray.png", bright, dark]
    model = load_model(photos.folder / MODEL)
    values = np.array([BRIGHT, DARK, 128, BRIGHT, DARK], np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (5, 32, 32, 3))
    for row, exact in zip(rows, model.predict(images), strict=True):
        names = [f"probability_{name}" for name in model.classes]
        assert [float(row[name]) for name in names] == exact.tolist()
        assert float(row["probability"]) == exact.max()
        assert row["prediction"] == model.classes[exact.argmax()]
        assert row["sure"] == str(bool(exact.max() >= model.sure_from))
    assert f"the model is {MODEL}, md5 " in finished.stderr


def test_a_broken_file_among_many_is_told_and_costs_no_other_its_answer(photos: Project) -> None:
    for number in range(250):  # more than are read ahead
        photo(photos.folder / "many" / f"{number:03}.png", number)
    (photos.folder / "many" / "007.png").write_bytes(b"\x89PNG and no more")
    (photos.folder / "many" / "200.png").write_bytes(b"")
    finished = predict(photos, "many", "photos/no-such.png", "--format", "jsonl")
    assert finished.returncode == 2
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [row["file"] for row in rows] == [
        f"many/{number:03}.png" for number in range(250) if number not in (7, 200)
    ]
    assert all(isinstance(row["sure"], bool) for row in rows)
    _, *errors = finished.stderr.splitlines()
    assert errors[0].startswith("ERROR: many/007.png: is no photo of a format that is known")
    assert errors[1:] == [
        "ERROR: many/200.png: is empty",
        "ERROR: photos/no-such.png: cannot be read (No such file or directory)",
        "ERROR: 3 of 251 files could not be read; the others were",
    ]


def test_a_photo_of_which_the_model_is_not_sure_is_called_so(photos: Project) -> None:
    finished = predict(photos, "photos", "--format", "table")
    shown = {line.split()[0]: line for line in finished.stdout.splitlines()[1:]}
    assert len(shown) == 3
    assert all("not sure" in line for line in shown.values())
    assert shown["photos/bright.png"].endswith("% of truck")


def test_one_photo_can_come_from_standard_input(photos: Project) -> None:
    command = f"python -m stages predict --model {MODEL} - < photos/sub/dark.jpg"
    (row,) = csv.DictReader(io.StringIO(photos.run("bash", "-c", command).stdout))
    assert (row["file"], row["prediction"]) == ("-", "automobile")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photos/*.gif"], "ERROR: photos/*.gif: holds no photos; name files or folders\n"),
        (["photos", "--model", "best"], "ERROR: --model best: there is no such model or file; "),
        (["photos", "--model", "cnn"], "ERROR: data/models/cnn.npz: no such file; make it with "),
    ],
)
def test_what_cannot_be_done_at_all_is_one_line(
    photos: Project, arguments: list[str], said: str
) -> None:
    finished = predict(photos, *arguments)
    assert finished.returncode == 2
    assert finished.stderr.startswith(said)
    assert finished.stderr.count("\n") == 1
    assert finished.stdout == ""


def test_least_squares_wait_for_neither_tensorflow_nor_mlflow(photos: Project) -> None:
    code = """\
import sys
from stages.__main__ import main
main(["predict", "photos", "--model", "baseline"])
print([name for name in ("tensorflow", "keras", "mlflow") if name in sys.modules])
"""
    finished = photos.run("python", "-c", code)
    assert finished.stdout.splitlines()[-1] == "[]"


def test_whoever_has_seen_enough_is_not_told_of_a_broken_pipe(photos: Project) -> None:
    for number in range(120):
        photo(photos.folder / "many" / f"{number:03}.png", number)
    command = "python -m stages predict many photos many --model baseline 2> told | head -1"
    assert photos.run("bash", "-c", command).stdout.startswith("file,prediction,probability")
    assert len((photos.folder / "told").read_text().splitlines()) == 1


def test_names_of_files_cannot_write_to_the_terminal(photos: Project) -> None:
    photo(photos.folder / "odd" / "a\x1b[2J\nb.png", BRIGHT)
    finished = predict(photos, "odd", "--format", "table")
    assert len(finished.stdout.splitlines()) == 2
    assert "\x1b" not in finished.stdout
