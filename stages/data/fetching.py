"""Obtaining a file whose sha256 is known, from whichever of its sources answers first.

A file gets its final name only after its sha256 has been compared, so a file under that name is
either good or is refused; whatever a killed process leaves lies in `.partial/` and is never used.
Of processes that want the same file, one fetches it and the others wait for that.
"""

import os
import shutil
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from stages.data.errors import UserError
from stages.data.files import file_hash

# The project's own: the working directory of an experiment may be a copy, which has none.
RAW_FOLDER = Path(os.environ.get("DVC_ROOT", "")) / "data" / "raw"
BAR_SECONDS, LINE_SECONDS = 0.2, 30.0  # how often progress is shown, with and without a terminal


class FetchError(Exception):
    """Why a file could not be fetched, in a few words."""


@dataclass(frozen=True)
class Source:
    """One place from which a data set can be had, and the file that it gives."""

    name: str  # how messages and params.yaml call it
    filename: str  # in the folder of raw data
    sha256: str  # of the whole file, 64 hex digits
    size_bytes: int
    fetch: Callable[["Source", Path], None]  # makes the file at a path: see downloaders.py
    address: str  # what `fetch` asks for: a URL, or a package and its version
    by_hand: str  # what a person does to get the file


def obtain(sources: Sequence[Source], folder: Path) -> Path:
    """Return the path of a good file: one that is there already, else the first that is fetched.

    Args:
        sources: in the order of preference; a good file that is there goes before all fetching.
        folder: of the raw data; made if need be, and not written to if a good file is there.

    Raises:
        UserError: every source failed (one message gives each reason and what to do by hand), or
            the folder cannot be read or written.
    """
    try:
        for source in sources:
            path = folder / source.filename
            if path.exists() and not _what_is_wrong(path, source):
                return path
        return _fetch_first(sources, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read or written ({error}); free space or fix rights"
        ) from error


def _is_good(source: Source, folder: Path) -> bool:
    """Whether the file is there; one with a wrong sha256 is reported and put aside."""
    path = folder / source.filename
    if not path.exists():
        return False
    if wrong := _what_is_wrong(path, source):
        refused = path.replace(path.with_name(f"{path.name}.refused"))
        _tell(f"WARNING: {path}: {wrong}; it is not used and is now named {refused.name}")
    return not wrong


def _what_is_wrong(path: Path, source: Source) -> str:
    found, expected = file_hash(path, "sha256"), source.sha256
    wrong = f"truncated or altered (sha256 is {found[:12]}…, expected {expected[:12]}…)"
    return "" if found == expected else wrong


def _fetch_first(sources: Sequence[Source], folder: Path) -> Path:
    reasons = []
    for source in sources:
        try:
            return _fetch(source, folder)
        except FetchError as error:
            reasons.append(textwrap.shorten(f"{source.name}: {error}", 300, placeholder=" …"))
            _tell(f"WARNING: {reasons[-1]}")
    lines = [
        f"{' or '.join(s.filename for s in sources)}: could not be fetched. What was tried:",
        *(f"  {reason}" for reason in reasons),
        "Mend the network, or put one of these files there by hand, and run it again:",
        *(f"  {folder / source.filename}: {source.by_hand}" for source in sources),
    ]
    raise UserError("\n".join(lines))


def _fetch(source: Source, folder: Path) -> Path:
    """The file, once no other process fetches it: then it is there, or is fetched here."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{source.filename}.lock")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=LINE_SECONDS)
        except Timeout:
            _tell(f"{source.name}: another process fetches {source.filename}; waiting for it")
    try:
        is_there = _is_good(source, folder)
        return folder / source.filename if is_there else _fetch_alone(source, folder)
    finally:
        # Who waits for the lock sees that its file is gone, and makes another.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _fetch_alone(source: Source, folder: Path) -> Path:
    """Fetch, compare, and only then give the file its name."""
    # A folder for each, as two stages may fetch at the same time.
    scratch = folder.resolve() / ".partial" / source.filename
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run
    scratch.mkdir(parents=True)
    _tell(f"{source.name}: fetching {source.filename} ({source.size_bytes / 1e6:.0f} MB)")
    done = threading.Event()
    watching = threading.Thread(target=_show_progress, args=(source, scratch, done), daemon=True)
    watching.start()
    try:
        # A new folder each time: a client that outlives a killed run cannot write into this one.
        fetched = Path(tempfile.mkdtemp(dir=scratch), source.filename)
        source.fetch(source, fetched)
        if wrong := _what_is_wrong(fetched, source):
            raise FetchError(f"what came is {wrong}")
        return fetched.replace(folder / source.filename)
    finally:
        done.set()
        watching.join()
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another stage is at work there
            scratch.parent.rmdir()


def _show_progress(source: Source, scratch: Path, done: threading.Event) -> None:
    """Show how much is there, whoever writes it: a bar on a terminal, else now and then a line."""
    begin, size, terminal = time.monotonic(), 0, sys.stderr.isatty()
    bar = tqdm(total=source.size_bytes, unit="B", unit_scale=True, disable=not terminal)
    while not done.wait(BAR_SECONDS if terminal else LINE_SECONDS):
        with suppress(OSError):  # a file that was there a moment ago
            size = max(path.stat().st_size for path in (scratch, *scratch.rglob("*")))
        bar.update(size - bar.n)
        if not terminal:
            part = f"{size / 1e6:.0f} of {source.size_bytes / 1e6:.0f} MB"
            seconds = time.monotonic() - begin
            _tell(f"{source.name}: still fetching {source.filename}, {part} after {seconds:.0f} s")
    bar.close()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
