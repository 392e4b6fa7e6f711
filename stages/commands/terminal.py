"""Where commands print tables and trees."""

import sys

from rich.console import Console

WIDTH_OF_FILES = 160  # columns, where the output goes to a file or another program


def console(*, is_file: bool = False) -> Console:
    """The terminal, as wide as its window; a file is 160 columns wide, and has no colors."""
    is_window = sys.stdout.isatty() and not is_file
    return Console(
        width=None if is_window else WIDTH_OF_FILES, force_terminal=False if is_file else None
    )
