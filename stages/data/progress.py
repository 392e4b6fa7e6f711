"""Progress of long work: a bar on a terminal; elsewhere, as in a log of CI, now and then a line."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

SECONDS = 30.0  # between two lines, whatever they are about
BAR_AFTER = 1.0  # seconds: what is done by then needs no bar
_is_part = ContextVar("_is_part", default=False)  # of work whose progress is shown


@contextmanager
def untold() -> Iterator[None]:
    """Show no progress in the block, as each is short, or is part of what others show."""
    before = _is_part.set(True)
    try:
        yield
    finally:
        _is_part.reset(before)


class Progress:
    """Shows how much of some work is done, until it is closed.

    Of work within other work the outer one is shown alone.
    """

    _last_line = time.monotonic()

    def __init__(self, title: str, total: int, unit: str) -> None:
        """Name the work, and how much there is of what."""
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._is_shown = not _is_part.get()
        self._before = _is_part.set(True)
        self._bar = tqdm(
            total=total,
            desc=title,
            unit=f" {unit}",
            disable=None if self._is_shown else True,
            leave=False,
            delay=BAR_AFTER,
        )

    def update(self, more: int) -> None:
        """So much more is done."""
        if not self._is_shown:
            return
        self._done += more
        self._bar.update(more)
        now = time.monotonic()
        if self._bar.disable and now - Progress._last_line >= SECONDS:
            Progress._last_line = now
            line = f"{self._title}: {self._done:,} of {self._total:,} {self._unit}"
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the bar away until there is more, as a line is about to be printed."""
        self._bar.clear()
        Progress._last_line = time.monotonic()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
        _is_part.reset(self._before)
