"""Check params.yaml: each mistake is a line that says what is allowed; exit code 2 if there is one.

`make repro` does this before DVC starts, so that a typo costs no outputs: DVC removes those of a
stage before the stage can look at its settings.
"""

import argparse
from pathlib import Path

from stages.workflow.command import run_reporting_mistakes
from stages.workflow.params import PARAMS_FILE, read_params


def main() -> None:
    """Read the options, check the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "file", type=Path, nargs="?", default=PARAMS_FILE, help=f"default: {PARAMS_FILE}"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: check(arguments.file))


def check(path: Path) -> None:
    """Read the file and say that it is good.

    Raises:
        UserError: it is not.
    """
    read_params(path)
    print(f"{path}: all settings are legal")


if __name__ == "__main__":
    main()
