"""Photos of one's own: a folder with a subfolder for each class, looked through before use."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.errors import UserError
from stages.data.photos import read_photo, size_of
from stages.data.progress import Progress
from stages.data.room import room
from stages.data.splits import Split, limited

GIVEN = ("train", "test")  # subfolders of photos that are split already
FEWEST, FEW = 10, 50  # photos of a class: below the first it stops, below the second it warns
UNBALANCED = 3  # times as many photos in the largest class as in the smallest
LONGEST = 3  # times as long as wide; such a photo loses much as a square
EXAMPLES = 3  # named in a warning
THREADS = 2
SMALL = 32  # pixels of the shorter side; below it a photo shows little
ENOUGH = 2000  # photos for least squares on 1,024 pixels
CLASS_NAME = r"[\w -]+"
RESERVED = ("images", "near_duplicates_of_train")  # keys beside the classes in metrics
CHUNK = 500  # photos handed to the threads at once


@dataclass(frozen=True)
class Listed:
    """Files in a folder of photos, before they are read.

    Attributes:
        classes: names of the classes.
        paths: of each file, from the folder on; sorted by file name, whatever the class.
        labels: int [n], an index into `classes`.
        is_test: bool [n]; None if the folder is not split.
    """

    classes: list[str]
    paths: list[str]
    labels: np.ndarray
    is_test: np.ndarray | None


@dataclass(frozen=True)
class Photos:
    """What a folder holds.

    Attributes:
        images: all photos that can be read; `indices` are their paths.
        is_test: bool [n], which are test images; None if the folder is not split.
        warnings: a sentence each.
        counts: how many `files`, how many of these are `unreadable`, `long` or `small`; and
            `photo_size`.
    """

    images: Split
    is_test: np.ndarray | None
    warnings: list[str]
    counts: dict[str, int]


def read_folder(
    folder: Path, classes: list[str], photo_size: int, limit_per_class: int | None, seed: int
) -> Photos:
    """Look through a folder, and read its photos.

    Args:
        folder: with a subfolder for each class, or with `train` and `test` which have these.
        classes: names of the classes; none for all subfolders.
        photo_size: side in pixels of the results, less if all photos are smaller.
        limit_per_class: use at most so many photos of each class (of training and test each).
        seed: of the choice of photos.

    Raises:
        UserError: the folder is missing or holds no such subfolders, or a class has too few photos
            that can be read: all that stops, a line each.
    """
    listed = _limited(_listed(folder, classes), limit_per_class, seed)
    sizes = _of_each(listed.paths, lambda path: size_of(folder / path), "looking at photos")
    problems = {
        path: size for path, size in zip(listed.paths, sizes, strict=True) if isinstance(size, str)
    }
    seen = {
        path: size
        for path, size in zip(listed.paths, sizes, strict=True)
        if not isinstance(size, str)
    }
    side = min(photo_size, max(map(max, seen.values()), default=photo_size))
    images = room((len(listed.paths), side, side, 3), np.uint8)
    position = {path: number for number, path in enumerate(listed.paths)}

    def read(path: str) -> None:
        images[position[path]] = read_photo((folder / path).read_bytes(), side)

    told = _of_each([*seen], read, "reading photos")
    problems |= {path: problem for path, problem in zip(seen, told, strict=True) if problem}
    good = np.array([path not in problems for path in listed.paths], bool)
    long = [path for path, size in seen.items() if max(size) > LONGEST * min(size)]
    small = [path for path, size in seen.items() if min(size) < SMALL]
    everything = Split(images, listed.labels, np.array(listed.paths, str), listed.classes)
    photos = Photos(
        everything if good.all() else everything.take(np.flatnonzero(good)),
        None if listed.is_test is None else listed.is_test[good],
        _warnings(listed, good, problems, long, small),
        {
            "files": len(good),
            "unreadable": len(problems),
            "long": len(long),
            "small": len(small),
            "photo_size": side,
        },
    )
    _check_counts(folder, photos)
    return photos


def _listed(folder: Path, classes: list[str]) -> Listed:
    """All files of the classes."""
    if not folder.is_dir():
        raise UserError(
            f"params.yaml: data.folder: {folder} is no folder; give one that has a subfolder of "
            "photos for each class"
        )
    inside = _subfolders(folder)
    parts = [folder / name for name in GIVEN] if {*GIVEN} <= {*inside} else [folder]
    if len(parts) == 2 and (more := [name for name in inside if name not in GIVEN]):
        raise UserError(
            f"{folder}: has {more[0]} beside train and test; put classes into these, or none"
        )
    found = sorted({name for part in parts for name in _subfolders(part)})
    names = classes or found
    if odd := [name for name in names if name in RESERVED or not re.fullmatch(CLASS_NAME, name)]:
        raise UserError(
            f"{folder}: {odd[0]!r} is not allowed as the name of a class; allowed: letters, "
            f"digits, spaces, _ and -, but not {' or '.join(RESERVED)}; rename the subfolder"
        )
    if len(names) < 2:
        what = f"only {names[0]}" if names else "none"
        raise UserError(f"{folder}: two or more subfolders, one a class, are wanted; it has {what}")
    for part in parts:
        if missing := [name for name in names if not (part / name).is_dir()]:
            raise UserError(
                f"{part}: has no subfolder {missing[0]}; it has {', '.join(found) or 'none'}; make "
                "it, or change data.classes in params.yaml"
            )
    files = [
        (path, label, part is parts[-1])
        for part in parts
        for label, name in enumerate(names)
        for path in (part / name).rglob("*")
        if path.is_file() and not any(each.startswith(".") for each in path.relative_to(part).parts)
    ]
    files.sort(key=lambda each: (each[2], each[0].name, each[0].as_posix()))
    return Listed(
        names,
        [path.relative_to(folder).as_posix() for path, _, _ in files],
        np.array([label for _, label, _ in files], np.int64),
        np.array([is_test for _, _, is_test in files], bool) if len(parts) == 2 else None,
    )


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
    )


def _limited(listed: Listed, limit: int | None, seed: int) -> Listed:
    """At most so many photos of each class, of the training and of the test images."""
    parts = [np.ones(len(listed.paths), bool)]
    if listed.is_test is not None:
        parts = [~listed.is_test, listed.is_test]
    n_classes = len(listed.classes)
    chosen = np.concatenate(
        [limited(np.where(part, listed.labels, -1), n_classes, limit, seed) for part in parts]
    )
    return Listed(
        listed.classes,
        [listed.paths[each] for each in chosen],
        listed.labels[chosen],
        None if listed.is_test is None else listed.is_test[chosen],
    )


def _of_each(paths: Sequence[str], function: Callable[[str], Any], title: str) -> list[Any]:
    """What a function gives for each path, in order; where it raises a UserError, its text."""

    def attempt(path: str) -> Any:
        try:
            return function(path)
        except (UserError, OSError) as error:
            return str(error)

    results: list[Any] = []
    with ThreadPoolExecutor(THREADS) as pool, closing(Progress(title, len(paths), "photos")) as bar:
        for start in range(0, len(paths), CHUNK):
            results += pool.map(attempt, paths[start : start + CHUNK])
            bar.update(min(CHUNK, len(paths) - start))
    return results


def equal_photos(photos: Split, equal: np.ndarray) -> tuple[list[str], dict[str, int]]:
    """What is told of photos that are equal, and how many are so.

    Args:
        photos: of a folder; their `indices` are their paths.
        equal: for each photo the position of the first that is equal, int [n].

    Returns:
        A sentence each; how many are `equal` to another, and how many of these `contradictory`.
    """
    copies = np.flatnonzero(equal != np.arange(len(equal)))
    contrary = copies[photos.labels[copies] != photos.labels[equal[copies]]]
    warnings = []
    for found, what in (
        (copies, "photos that are equal to another, and stay on its side of each split"),
        (contrary, "of these in another class than it, which cannot both be right"),
    ):
        names = [f"{photos.indices[each]} = {photos.indices[equal[each]]}" for each in found]
        if names:
            warnings.append(f"{what}: {len(names):,} ({_some(names)})")
    return warnings, {"equal": len(copies), "contradictory": len(contrary)}


def _warnings(
    listed: Listed,
    good: np.ndarray,
    problems: dict[str, str],
    long: list[str],
    small: list[str],
) -> list[str]:
    """What does not stop the pipeline, and yet is worth a look."""
    warnings = []
    if problems:
        examples = [f"{path} {why}" for path, why in problems.items()]
        warnings.append(f"files that are left out: {len(problems):,} ({_some(examples)})")
    if long:
        warnings.append(
            f"photos more than {LONGEST} times as long as wide, which become squares: "
            f"{len(long):,} ({_some(long)})"
        )
    if small:
        warnings.append(
            f"photos with less than {SMALL} pixels on a side, which are made larger: "
            f"{len(small):,} ({_some(small)})"
        )
    counts = np.bincount(listed.labels[good], minlength=len(listed.classes))
    few = [name for name, count in zip(listed.classes, counts, strict=True) if count < FEW]
    if few:
        warnings.append(f"fewer than {FEW} photos of {_some(few)}: the measures will say little")
    if counts.sum() < ENOUGH:
        warnings.append(
            f"{counts.sum():,} photos are few for the baseline's 1,024 weights: it learns them by "
            "heart and says little of others; raise baseline.ridge in params.yaml"
        )
    if counts.max() > UNBALANCED * counts.min():
        warnings.append(
            f"the classes are unbalanced: {counts.max():,} of {listed.classes[counts.argmax()]}, "
            f"{counts.min():,} of {listed.classes[counts.argmin()]}; data.class_weights: balanced "
            "in params.yaml lets all count the same"
        )
    return warnings


def _some(names: Sequence[str]) -> str:
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def _check_counts(folder: Path, photos: Photos) -> None:
    wanted = [(folder, photos.images.labels, FEWEST)]
    if (is_test := photos.is_test) is not None:
        labels = photos.images.labels
        wanted = [
            (folder / "train", labels[~is_test], FEWEST),
            (folder / "test", labels[is_test], 1),
        ]
    few = [
        f"{place}: {counts[label]} photos of {name!r} can be read; at least {fewest} are wanted; "
        "add some, or leave it out of data.classes"
        for place, labels, fewest in wanted
        for counts in [Counter(labels.tolist())]
        for label, name in enumerate(photos.images.classes)
        if counts[label] < fewest
    ]
    if few:
        raise UserError(
            "\n".join(["\nERROR: ".join(few), *map("WARNING: {}".format, photos.warnings)])
        )
