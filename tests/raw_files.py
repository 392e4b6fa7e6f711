"""The real files from outside, fetched once into the project's own data/raw/ and kept there."""

from pathlib import Path

from filelock import FileLock

from stages.data.fetching import Source, obtain

ROOT = Path(__file__).resolve().parents[1]


def raw_file(*sources: Source) -> Path:
    """Path of a good file from one of the sources; it is fetched only if none is there.

    Two test processes want the same files at the same time on a fresh machine: one goes first.
    """
    lock = ROOT / ".pytest_cache" / "raw_files.lock"
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):
        return obtain(sources, ROOT / "data" / "raw").resolve()
