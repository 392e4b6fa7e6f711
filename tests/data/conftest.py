"""The real data set."""

from pathlib import Path

import pytest

from stages.data.cifar10_sources import SOURCES
from tests.raw_files import raw_file


@pytest.fixture(scope="session")
def real_cifar10_file() -> Path:
    """Return the file that `dvc repro` uses too."""
    return raw_file(SOURCES["npm"], SOURCES["author"])
