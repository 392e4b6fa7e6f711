"""Where commands print tables and trees."""

import sys

from rich.console import Console

WIDTH_OF_FILES = 160  # columns, where the output goes to a file or another program


def console() -> Console:
    """The terminal; its width is the window's, and fixed where there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
