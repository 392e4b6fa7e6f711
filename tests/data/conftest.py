"""The real data set, fetched once into the project's own data/raw/ and kept for the pipeline."""

from pathlib import Path

import pytest

from stages.data.cifar10 import SOURCES
from stages.data.download import obtain


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the top folder of this checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_cifar10_file(project_root: Path) -> Path:
    """Return the file that `dvc repro` uses too; it is fetched only if no good one is there."""
    return obtain([SOURCES["npm"], SOURCES["author"]], project_root / "data" / "raw")
