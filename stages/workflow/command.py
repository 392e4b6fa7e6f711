"""How a stage or a command is run: `--help`, one line for a mistake, exit code 2."""

import argparse
import inspect
import sys
from collections.abc import Callable

from stages.data.errors import UserError

EXIT_USER_ERROR = 2  # the same code that argparse uses for a wrong option
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` from its command line, which takes no options but `--help`.

    Args:
        main: the stage; the docstring of its module is the help text.
    """
    documentation = inspect.getdoc(inspect.getmodule(main)) or ""
    parser = argparse.ArgumentParser(
        description=documentation,
        epilog="Settings are in params.yaml; the pipeline is run with `dvc repro`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    run_reporting_mistakes(main)


def run_reporting_mistakes(action: Callable[[], None]) -> None:
    """Call `action`; a `UserError` becomes one line on stderr and exit code 2."""
    try:
        action()
    except UserError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; run it again", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
