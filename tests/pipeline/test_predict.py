"""`python -m stages predict`: an answer for each photo, whatever lies among them."""

import csv
import io
import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.commands.predict import files
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


def test_a_photo_that_this_pillow_cannot_read_is_told_and_not_passed_over(photos: Project) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"  # no more than the beginning
    (photos.folder / "photos" / "IMG_0001.HEIC").write_bytes(heic)
    (photos.folder / "photos" / "film.mpg").write_bytes(b"\0\0\1\xba no photo")
    (photos.folder / "photos" / "data.h5").write_bytes(b"\x89HDF\r\n\x1a\n no photo")
    finished = predict(photos, "photos")
    assert finished.returncode == 2
    assert len(finished.stdout.splitlines()) == 4
    _, told, total = finished.stderr.splitlines()
    assert told.startswith("ERROR: photos/IMG_0001.HEIC: is ")
    assert total == "ERROR: 1 of 4 files could not be read; the others were"


def test_a_folder_that_may_not_be_read_is_told_and_not_passed_over(photos: Project) -> None:
    photo(photos.folder / "photos" / "names" / "sub" / "dark.png", DARK)
    photo(photos.folder / "photos" / "names" / "dark.png", DARK)
    modes = {"photos/names": 0o400, "photos/sub": 0}  # the first shows names, and no more
    for folder, mode in modes.items():
        (photos.folder / folder).chmod(mode)
    # Root may read all, if it is not run without that capability.
    as_user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = ("python", "-m", "stages", "predict", "--model", "baseline", "photos")
    finished = photos.run(*(as_user if os.getuid() == 0 else []), *command, check=False)
    for folder in modes:
        (photos.folder / folder).chmod(0o755)
    assert finished.returncode == 2
    (row,) = csv.DictReader(io.StringIO(finished.stdout))
    assert row["file"] == "photos/bright.png"
    assert finished.stderr.splitlines()[1:] == [
        "ERROR: photos/names/dark.png: cannot be read (Permission denied)",
        "ERROR: photos/names/sub: cannot be read (Permission denied)",
        "ERROR: photos/sub: cannot be read (Permission denied)",
        "ERROR: 3 of 4 files could not be read; the others were",
    ]


def test_a_folder_of_photos_may_hold_what_is_none_and_nobody_waits_for_it(tmp_path: Path) -> None:
    for name in ("car.jpg", ".hidden/car.jpg", "._car.jpg"):  # macOS writes the last
        photo(tmp_path / "car.jpg", BRIGHT)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tmp_path / "car.jpg").read_bytes())
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tmp_path / "socket.png"))  # an address has 107 bytes at most
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("no-such.png")
    for asked in (f"{tmp_path}", f"{tmp_path}/*"):
        assert list(files([asked])) == [f"{tmp_path}/car.jpg", f"{tmp_path}/gone.png"]
    for named in ("pipe.png", "._car.jpg"):  # what is named itself is tried
        assert list(files([f"{tmp_path / named}"])) == [f"{tmp_path / named}"]


def test_folders_are_looked_through_behind_links_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("elsewhere/truck.png"), BRIGHT)
    photo(Path("photos/sub/car.png"), DARK)
    Path("photos/link").symlink_to(tmp_path / "elsewhere")
    Path("photos/loop").symlink_to(tmp_path / "photos")
    Path("elsewhere/back").symlink_to(tmp_path / "photos")  # a loop of two links
    Path("elsewhere/up").symlink_to("..")
    found = ["photos/link/truck.png", "photos/sub/car.png"]
    assert list(files(["photos"])) == found
    assert list(files(["photos/sub*", "photos/li*"])) == found[::-1]
    Path("photos/loop").unlink()
    Path("elsewhere/back").unlink()
    Path("elsewhere/up").unlink()
    assert list(files(["photos/*"])) == found
    assert list(files(["photos/**"])) == found  # each once


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
        ([f"{'a' * 300}*"], f"ERROR: {'a' * 300}*: holds no photos; name files or folders\n"),
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


def test_names_that_are_no_utf_8_can_be_found_again_in_what_is_written(photos: Project) -> None:
    name = b"odd/caf\xe9.png"
    photo(photos.folder / os.fsdecode(name), BRIGHT)
    command = "python -m stages predict odd --model baseline --format"
    photos.run("bash", "-c", f"{command} csv > told.csv; {command} jsonl > told.jsonl")
    assert (photos.folder / "told.csv").read_bytes().splitlines()[1].startswith(name + b",")
    assert os.fsencode(json.loads((photos.folder / "told.jsonl").read_text())["file"]) == name
