"""The last commit, apart from whatever a run of the pipeline has left in the working tree."""

import shutil
import subprocess
from pathlib import Path

from tests.raw_files import ROOT

RESULTS = ("dvc.lock", "metrics")


def clone_of_head(folder: Path) -> Path:
    """Make `folder` a checkout of the last commit, and return it."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def copy_committed_results(folder: Path, scratch: Path) -> None:
    """Give a folder the results of the last commit, not those of the working tree.

    Args:
        folder: of a project without results.
        scratch: for a checkout; it is not to exist yet.
    """
    clone_of_head(scratch)
    for name in RESULTS:
        copy = shutil.copytree if (scratch / name).is_dir() else shutil.copy
        copy(scratch / name, folder / name)
    shutil.rmtree(scratch)
