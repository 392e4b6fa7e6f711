"""Print the results of the models from the files of the last `dvc repro`, and what to do next.

Accuracies with the 95 % interval of Wilson for the test; seconds of the training stage where a log
of this machine tells them.
"""

import argparse
from pathlib import Path

from stages.data.errors import UserError

README, ON_THE_GATE = Path("README.md"), Path("docs/compare.md")
ON_EXPORT = Path("docs/export.md")
NEXT = """\
Compare the runs in the browser: make ui
Try a change: source .venv/bin/activate && dvc exp run -S cnn.default.epochs=5
See what it did, and whether that is more than chance: make compare"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--write-readme",
        action="store_true",
        help=f"write the tables of {README}, {ON_THE_GATE} and {ON_EXPORT} instead",
    )


def run(options: argparse.Namespace) -> None:
    """Print the table, or write all tables into the pages.

    Raises:
        UserError: a file is missing or damaged, or a page has no markers.
    """
    from stages.commands.terminal import console
    from stages.data.files import replacing
    from stages.results.measurements import Measurements
    from stages.results.report_tables import results_table
    from stages.results.terminal import print_table

    if not options.write_readme:
        print_table(results_table(Measurements(), with_seconds=True), console())
        print(NEXT)
        return
    for path, text in pages_with_tables().items():
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def pages_with_tables() -> dict[Path, str]:
    """The pages with their tables renewed, each below its caption.

    Raises:
        UserError: a marker or a file is missing.
    """
    from stages.results.markdown import escaped, table
    from stages.results.measurements import Measurements
    from stages.results.report_tables import (
        export_table,
        gate_table,
        results_table,
        seeds_table,
        times_table,
    )

    measured = Measurements()
    tables = {
        "results": (README, results_table(measured, with_seconds=False)),
        "seeds": (README, seeds_table(measured)),
        "times": (README, times_table()),
        "gate": (ON_THE_GATE, gate_table()),
        "export": (ON_EXPORT, export_table()),
    }
    pages = {path: path.read_text(encoding="utf-8") for path, _ in tables.values()}
    for name, (path, shown) in tables.items():
        begin, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        before, found, rest = pages[path].partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise UserError(f"{path}: has no {begin} or {end}; put it where the table belongs")
        content = f"{escaped(shown.caption)}:\n\n{table(shown)}"
        pages[path] = f"{before}{begin}\n{content}\n{end}{after}"
    return pages
