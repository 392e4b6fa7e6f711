"""The option `--project`, of commands that work on any project of DVC."""

import argparse
import os
from pathlib import Path

from stages.data.errors import UserError


def add_project(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="folder of any DVC project, in which `dvc init` was run (default: this project)",
    )


def enter_project(options: argparse.Namespace) -> None:
    """Go to the project that was named.

    Raises:
        UserError: there is none.
    """
    if options.project is None:
        return
    if not (options.project / ".dvc").is_dir():
        what = "is no DVC project, as it has no folder .dvc; give the one that has"
        raise UserError(f"--project {options.project}: {what}")
    os.chdir(options.project)
    os.environ.pop("DVC_ROOT", None)
