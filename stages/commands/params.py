"""Check params.yaml: a line for each mistake says what is allowed; exit code 2 if there is one.

`make repro` does this before DVC starts, so that a typo costs no outputs: DVC removes those of a
stage before the stage can look at its params.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        default=Path("params.yaml"),
        help="another file (default: params.yaml)",
    )


def run(options: argparse.Namespace) -> None:
    """Read the file and say that it is good.

    Raises:
        UserError: it is not.
    """
    from stages.workflow.params import read_params

    read_params(options.file)
    print(f"{options.file}: all params are legal")
