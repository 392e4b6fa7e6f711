"""Say what photos show: the class, its probability, or that the model is not sure.

A model is sure where its predictions were right in 99 of 100 cases, on validation images. All of a
photo is brought to the size that the model takes (docs/predict.md).

    python -m stages predict photo.jpg photos/ 'more/**/*.png'
    python -m stages predict --model mobilenet --format jsonl - < photo.jpg

Exit code 0: all photos were read; 2: some were not, and are told, or wrong usage.
"""

import argparse
import csv
import glob
import io
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.asked_model import add_model, asked_model
from stages.data.errors import UserError
from stages.data.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from stages.models.photo_predictions import PhotoPrediction
    from stages.models.storage import Classifier

    Said = tuple[str, PhotoPrediction | UserError]  # of a file

STDIN = "-"
BATCH = 100  # photos predicted at once
THREADS = 2  # that read photos while others are predicted
AHEAD = 2 * BATCH  # photos read ahead at most, so that memory does not grow with their number
WIDEST = 60  # letters of a file's name in a table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a file, a folder with its subfolders, a pattern as '*.jpg', or - for one photo from "
        "standard input",
    )
    add_model(parser)
    parser.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        help="of the output (default: table on a terminal, else csv)",
    )


def run(options: argparse.Namespace) -> None:
    """Predict, and print a row for each photo as soon as it is there.

    Raises:
        UserError: nothing was found, photos cannot be read, or there is no such model.
    """
    lengths = [0, 0]  # how many files there are, and how many letters the longest has
    for name in files(options.images):
        lengths = [lengths[0] + 1, max(lengths[1], len(_printable(name)))]
    number, width = lengths
    if not number:
        raise UserError(f"{' '.join(options.images)}: holds no photos; name files or folders")
    model = asked_model(options)
    kind = options.format or ("table" if sys.stdout.isatty() else "csv")
    write = WRITERS[kind](model.classes, min(width, WIDEST))
    unread = 0
    try:
        with closing(Progress("predict", number, "photos")) as bar:
            bar.clear()  # which model answers has just been told
            for said in predicted(model, files(options.images)):
                bar.update(len(said))
                unread += _print(said, write, bar)
    except BrokenPipeError:  # whoever reads this has seen enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if unread:
        raise UserError(f"{unread:,} of {number:,} files could not be read; the others were")


def _print(
    said: list["Said"], write: "Callable[[str, PhotoPrediction], None]", bar: Progress
) -> int:
    """Print what is said of some files; how many could not be read."""
    unread = [(name, what) for name, what in said if isinstance(what, UserError)]
    if unread or sys.stdout.isatty():
        bar.clear()
    for name, why in unread:
        print(f"ERROR: {_printable(name)}: {why}", file=sys.stderr, flush=True)
    for name, what in said:
        if not isinstance(what, UserError):
            write(name, what)
    sys.stdout.flush()
    return len(unread)


def files(names: list[str]) -> Iterator[str]:
    """The files that arguments name, in their order; those in folders are chosen by `_photos_in`.

    A file that is not there is among them, unless it is a pattern.
    """
    for name in names:
        if glob.has_magic(name) and not os.path.lexists(name):
            matching = glob.iglob(name, recursive=True)  # noqa: PTH207  # of absolute paths, too
            ending = (each for each in matching if _ends(each))
            yield from sorted({file for each in ending for file in _photos_in(each)})
        else:
            yield from _photos_in(name)


def _photos_in(name: str) -> Iterator[str]:
    """Of a folder and its subfolders what has the suffix of a photo and is not hidden; or a file.

    A folder that cannot be read is among them: reading it as a file fails again, and says why.
    """
    from stages.data.photos import PHOTO_SUFFIXES

    if not os.path.isdir(name):  # noqa: PTH112  # of -, too
        yield name
        return
    unread: list[OSError] = []
    for folder, inside, here in os.walk(name, onerror=unread.append, followlinks=True):
        found = (each for each in sorted(here) if Path(each).suffix.lower() in PHOTO_SUFFIXES)
        paths = (os.path.join(folder, each) for each in found if each[0] != ".")  # noqa: PTH118  # fast
        yield from (path for path in paths if _ends(path))
        shown = (each for each in sorted(inside) if each[0] != ".")
        inside[:] = [each for each in shown if not _leads_up(Path(folder, each))]
    yield from (error.filename for error in unread)


def _ends(path: str) -> bool:
    """Whether it is no pipe, socket or device; what cannot be looked at is told when it is read."""
    known = os.path.isfile(path) or os.path.isdir(path)  # noqa: PTH112, PTH113  # do not raise
    return known or not os.path.exists(path)  # noqa: PTH110  # does not raise


def _leads_up(path: Path) -> bool:
    """Whether it is a link to a folder that it lies in, and so has no end."""
    up = map(os.path.realpath, path.absolute().parents)
    return os.path.islink(path) and os.path.realpath(path) in up  # noqa: PTH114  # does not raise


def predicted(model: "Classifier", names: Iterator[str]) -> Iterator[list["Said"]]:
    """For a batch of files at a time: what each shows, or why it cannot be read."""
    import numpy as np

    from stages.data.photos import read_photo
    from stages.models.photo_predictions import predictions_of

    def read(name: str) -> "np.ndarray | UserError":
        try:
            content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
            return read_photo(content, model.photo_size)
        except UserError as error:
            return error
        except OSError as error:
            return UserError(f"cannot be read ({error.strerror})")

    with ThreadPoolExecutor(THREADS) as pool:
        ahead: deque[tuple[str, Future[np.ndarray | UserError]]] = deque()
        while True:
            more = islice(names, AHEAD - len(ahead))
            ahead.extend((name, pool.submit(read, name)) for name in more)
            if not ahead:
                return
            batch = [ahead.popleft() for _ in range(min(BATCH, len(ahead)))]
            results = [(name, future.result()) for name, future in batch]
            photos = [photo for _, photo in results if not isinstance(photo, UserError)]
            said = iter(predictions_of(model, np.stack(photos)) if photos else [])
            yield [(n, p if isinstance(p, UserError) else next(said)) for n, p in results]


def _printable(name: str) -> str:
    """A file's name on one line, whatever is in it."""
    return name if name.isprintable() else ascii(name)


def _table(classes: list[str], width: int) -> "Callable[[str, PhotoPrediction], None]":
    """Columns as wide as they have to be, known before the first row."""
    from stages.models.photo_predictions import NOT_SURE

    widest = max(map(len, [*classes, NOT_SURE, "prediction"]))
    print(f"{'file':<{width}}  {'prediction':<{widest}}  probability")

    def write(name: str, said: "PhotoPrediction") -> None:
        rest = "" if said.sure else f" of {said.prediction}"
        share = f"{100 * said.probability:.1f} %{rest}"
        print(f"{_printable(name):<{width}}  {said.shown:<{widest}}  {share}")

    return write


def _csv(classes: list[str], _: int) -> "Callable[[str, PhotoPrediction], None]":
    from stages.models.photo_predictions import columns

    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # names as they are
    writer = csv.DictWriter(sys.stdout, ["file", *columns(classes)], lineterminator="\n")
    writer.writeheader()
    return lambda name, said: writer.writerow({"file": name, **said.row})


def _jsonl(_classes: list[str], _: int) -> "Callable[[str, PhotoPrediction], None]":
    return lambda name, said: print(json.dumps({"file": name, **said.row}))


WRITERS = {"table": _table, "csv": _csv, "jsonl": _jsonl}
