"""A PostgreSQL server of Debian's package, for as long as a test needs it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.faulty_server import HOST, free_port


def _programs() -> Path:
    """The folder of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if initdb := shutil.which("initdb"):
        return Path(initdb).resolve().parent
    what = "PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)"
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextlib.contextmanager
def postgres(password: str = "") -> Iterator[str]:
    """URI of an empty database on 127.0.0.1.

    Args:
        password: without which it lets nobody in; it is not in the URI.
    """
    programs = _programs()
    # PostgreSQL does not run as root; the package has a user for it.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if as_user:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    (folder / "password").write_text(password)
    asked = ["--auth=scram-sha-256", "--pwfile", folder / "password"] if password else []
    initdb = [programs / "initdb", "-D", data, "-U", "mlflow", *asked, "--no-sync"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=folder)
    options = ["-D", data, "-p", str(port), "-h", HOST, "-k", folder, "-F"]
    process = subprocess.Popen(
        [*as_user, programs / "postgres", *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = [programs / "pg_isready", "-h", HOST, "-p", str(port), "-q"]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode:
            assert process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < deadline, "PostgreSQL did not answer"
            time.sleep(0.2)
        yield f"postgresql://mlflow@{HOST}:{port}/postgres"
    finally:
        stop = [programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
        subprocess.run([*as_user, *stop], check=False, capture_output=True, cwd=folder)
        process.wait(30)
        shutil.rmtree(folder)
