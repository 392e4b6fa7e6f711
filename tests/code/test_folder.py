"""What is wrong with a folder of photos is told before anything is trained."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.errors import UserError
from stages.data.folder import Photos, equal_photos, read_folder
from stages.data.grouping import equal_images

GENERATOR = np.random.default_rng(0)


def fill(folder: Path, count: int, side: int = 40) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = GENERATOR.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "car", 12)
    fill(tmp_path / "truck", 12)
    return tmp_path


def read(folder: Path, *classes: str, limit: int | None = None, size: int = 160) -> Photos:
    return read_folder(folder, [*classes], size, limit, seed=0)


def refused(folder: Path, *classes: str) -> str:
    with pytest.raises(UserError) as told:
        read(folder, *classes)
    return str(told.value)


def test_photos_come_in_the_order_of_their_names_with_their_classes(folder: Path) -> None:
    found = read(folder)
    assert found.images.classes == ["car", "truck"]
    assert found.images.indices[:3].tolist() == ["car/000.png", "truck/000.png", "car/001.png"]
    assert found.images.labels[:3].tolist() == [0, 1, 0]
    assert found.is_test is None
    assert found.images.photo_size == 40, "no photo is enlarged beyond what is there"
    assert read(folder, "truck", "car").images.labels[:2].tolist() == [1, 0]
    assert read(folder, size=32).images.photo_size == 32


def test_a_folder_that_is_split_keeps_its_test_images(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 5)):
        fill(tmp_path / part / "car", count)
        fill(tmp_path / part / "truck", count)
    found = read(tmp_path)
    assert found.is_test is not None
    assert found.is_test.sum() == 10
    assert all(str(index).startswith("test/") for index in found.images.indices[found.is_test])


def test_a_limit_is_for_each_class(folder: Path) -> None:
    assert np.bincount(read(folder, limit=10).images.labels).tolist() == [10, 10]


def test_folders_in_a_class_belong_to_it_and_hidden_files_to_nothing(folder: Path) -> None:
    fill(folder / "car/more", 3)
    (folder / "car/.hidden").touch()
    fill(folder / "car/.ipynb_checkpoints", 2)
    (folder / ".cache").mkdir()
    (folder / "README.md").touch()
    found = read(folder)
    assert np.bincount(found.images.labels).tolist() == [15, 12]
    assert found.counts["unreadable"] == 0


def test_what_stops_is_told_in_one_line_each(folder: Path, tmp_path: Path) -> None:
    assert "params.yaml: data.folder: nowhere is no folder" in refused(Path("nowhere"))
    assert "has no subfolder bus; it has car, truck" in refused(folder, "car", "bus")
    fill(folder / "bus.1", 12)
    assert "'bus.1' is not allowed as the name of a class; allowed: letters" in refused(folder)
    (folder / "bus.1").rename(folder / "bus")
    for path in [*(folder / "bus").iterdir()][:4]:
        path.write_text("no photo")
    text = refused(folder)
    assert "8 photos of 'bus' can be read; at least 10 are wanted" in text
    assert re.search(r"files that are left out: 4 \(bus/\d+\.png is no photo .* and 1 more", text)
    alone = tmp_path / "alone"
    fill(alone / "car", 12)
    assert "two or more subfolders, one a class, are wanted; it has only car" in refused(alone)
    for name in ("train/car", "test/car", "trailer"):
        (alone / name).mkdir(parents=True)
    assert "has car beside train and test; put classes into these, or none" in refused(alone)


def test_a_class_without_test_photos_is_told_where_it_is(tmp_path: Path) -> None:
    for name, count in (("train/car", 12), ("train/truck", 12), ("test/car", 5)):
        fill(tmp_path / name, count)
    (tmp_path / "test/truck").mkdir()
    assert f"{tmp_path}/test: 0 photos of 'truck' can be read; at least 1" in refused(tmp_path)


def test_equal_photos_are_told_and_those_that_contradict_each_other(folder: Path) -> None:
    photo = (folder / "car/000.png").read_bytes()
    (folder / "car/copy.png").write_bytes(photo)
    (folder / "truck/of_car.png").write_bytes(photo)
    images = read(folder).images
    told, counts = equal_photos(images, equal_images(images.images))
    assert counts == {"equal": 2, "contradictory": 1}
    equal, contrary = told
    assert "2 (car/copy.png = car/000.png, truck/of_car.png = car/000.png)" in equal
    assert "in another class than it, which cannot both be right: 1 (truck/of_car.png" in contrary


def test_photos_too_small_to_show_something_are_told(folder: Path) -> None:
    fill(folder / "car/small", 2, side=8)
    found = read(folder)
    assert found.counts["small"] == 2
    assert any("less than 32 pixels on a side" in each for each in found.warnings)


def test_a_large_file_that_is_no_photo_is_not_read_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "car/clip.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    read_whole: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read_whole.append(path) or whole(path))
    assert read(folder).counts["unreadable"] == 1
    assert not [path for path in read_whole if path.suffix == ".mov"]
    assert len(read_whole) == 24
