"""Fetching a file from a web server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests

from stages.data.fetching import (
    RETRIES,
    SILENCE_SECONDS,
    TOTAL_SECONDS,
    DownloadWatch,
    FetchError,
    OutOfTimeError,
    one_line,
)


@dataclass(frozen=True)
class HttpFetch:
    """Fetch a file from a web server."""

    url: str
    retries: int = RETRIES
    silence_seconds: float = SILENCE_SECONDS
    total_seconds: float = TOTAL_SECONDS

    def __call__(self, target: Path, sha256: str) -> None:
        """See `Fetch`."""
        pooch.get_logger().setLevel("ERROR")  # it would name folders that are gone a moment later
        watch = DownloadWatch(target.name, None, self.total_seconds)
        # Pieces of 1 KiB (pooch's default): the clock is looked at after each whole piece.
        downloader = pooch.HTTPDownloader(progressbar=watch, timeout=self.silence_seconds)
        store = pooch.create(
            path=target.parent,
            base_url="",
            registry={target.name: sha256},
            urls={target.name: self.url},
            retry_if_failed=self.retries,
        )
        try:
            store.fetch(target.name, downloader=downloader)
        except OutOfTimeError as error:
            raise FetchError(str(error)) from None
        except requests.RequestException as error:
            raise FetchError(one_line(self._explain(error))) from error
        except ValueError as error:  # pooch's word for a wrong hash
            raise FetchError(one_line(str(error).split(". ")[0])) from error
        finally:
            watch.close()

    def _explain(self, error: requests.RequestException) -> str:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return f"the server answered {error.response.status_code} {error.response.reason}"
        cause = _innermost(error)
        if isinstance(error, requests.Timeout) or "timed out" in cause:
            return f"the server was silent for {self.silence_seconds:g} s"
        return cause


def _innermost(error: BaseException) -> str:
    """Return the text of the exception that requests and urllib3 have wrapped, layer on layer."""
    inner: Any = error
    while True:
        inside = getattr(inner, "reason", None) or next(iter(inner.args), None)
        if not isinstance(inside, BaseException):
            return " ".join(str(part) for part in inner.args) or type(inner).__name__
        inner = inside
