"""Obtaining a file whose sha256 is known, from whichever of its sources answers first.

A file gets its final name only after its sha256 has been compared, so a file under that name is
either good or is refused; whatever a killed process leaves lies in `.partial/` and is never used.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stages.data.errors import UserError
from stages.data.fetching import Fetch, FetchError
from stages.data.files import file_hash

RAW_FOLDER = Path("data/raw")
SCRATCH_NAME = ".partial"
_SHOWN_DIGITS = 12  # of a sha256, enough to tell two files apart


@dataclass(frozen=True)
class Source:
    """One place from which a data set can be had, and the file that it gives.

    Attributes:
        name: how messages and `params.yaml` call it.
        filename: the file's name in the folder of raw data.
        sha256: of the whole file, 64 hex digits.
        by_hand: what a person does to get the file, as the end of "<path>: …".
        fetch: how the program gets it; None if only a person can.
    """

    name: str
    filename: str
    sha256: str
    by_hand: str
    fetch: Fetch | None


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
            shutil.rmtree(_scratch(source, folder), ignore_errors=True)
        present = [source for source in sources if _is_good(source, folder)]
        if present:
            return folder / present[0].filename
        return _fetch_first(sources, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read or written ({error}); free space or fix rights"
        ) from error


def _scratch(source: Source, folder: Path) -> Path:
    """Where a source's file is made: apart for each, as two stages may fetch at the same time."""
    return folder / SCRATCH_NAME / source.filename


def _is_good(source: Source, folder: Path) -> bool:
    """Whether the file is there; one with a wrong sha256 is reported and put aside."""
    path = folder / source.filename
    if not path.exists():
        return False
    found = file_hash(path, "sha256")
    if found == source.sha256:
        return True
    refused = path.with_name(f"{path.name}.refused")
    path.replace(refused)
    _tell(
        f"WARNING: {path}: {_mismatch(found, source.sha256)}: truncated or altered; "
        f"it is not used and is now named {refused.name}"
    )
    return False


def _fetch_first(sources: Sequence[Source], folder: Path) -> Path:
    reasons: list[str] = []
    for source in sources:
        try:
            return _fetch(source, folder)
        except FetchError as error:
            reasons.append(f"{source.name}: {error}")
            _tell(f"WARNING: {reasons[-1]}")
    wanted = " or ".join(source.filename for source in sources)
    by_hand = [f"{folder / source.filename}: {source.by_hand}" for source in sources]
    lines = [
        f"{wanted}: could not be fetched. What was tried:",
        *(f"  {reason}" for reason in reasons),
        "Mend the network, or put one of these files there by hand, and run it again:",
        *(f"  {line}" for line in by_hand),
    ]
    raise UserError("\n".join(lines))


def _fetch(source: Source, folder: Path) -> Path:
    """Fetch, compare, and only then give the file its name."""
    if source.fetch is None:
        raise FetchError(f"{source.filename} can only be put there by hand")
    _tell(f"{source.name}: fetching {source.filename}")
    final = folder / source.filename
    scratch = _scratch(source, folder)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        # A new folder each time: a client that outlives a killed run cannot write into this one.
        fetched = Path(tempfile.mkdtemp(dir=scratch)) / source.filename
        source.fetch(fetched, source.sha256)
        found = file_hash(fetched, "sha256")
        if found != source.sha256:
            raise FetchError(f"what came was altered: {_mismatch(found, source.sha256)}")
        fetched.replace(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another stage is at work there
            scratch.parent.rmdir()
    return final


def _mismatch(found: str, expected: str) -> str:
    return f"sha256 is {found[:_SHOWN_DIGITS]}…, expected {expected[:_SHOWN_DIGITS]}…"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
