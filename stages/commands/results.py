"""Print the results of the models from the files of the last `dvc repro`, and what to do next.

Accuracies with the 95 % interval of Wilson for the test; seconds of the training stage where a
receipt of this machine tells them.
"""

import argparse
import re
from pathlib import Path

from stages.data.errors import UserError

PAGES = ("README.md", "docs/*.md")
PLACE = re.compile(
    r"(<!-- (\w+): written by `make readme` -->\n).*?(<!-- end of \2 -->)", re.DOTALL
)
NEXT = """\
Compare the runs in the browser: make ui
Try a change: source .venv/bin/activate && dvc exp run -S cnn.default.epochs=5
See what it did, and whether that is more than chance: make compare"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--write-readme",
        action="store_true",
        help="write the tables of README.md and docs instead, each where its markers are",
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
    """The pages whose tables change, with all their tables, each below its caption.

    Raises:
        UserError: a file is missing, a table has no place, or a place no table.
    """
    from stages.results.markdown import escaped, table
    from stages.results.measurements import Measurements
    from stages.results.report_tables import (
        benchmark_tables,
        results_table,
        seeds_table,
        times_table,
    )

    measured = Measurements()
    tables = {
        "results": results_table(measured, with_seconds=False),
        "seeds": seeds_table(measured),
        "times": times_table(),
        **benchmark_tables(),
    }
    placed = set()

    def renewed(place: re.Match[str]) -> str:
        begin, name, end = place.groups()
        if name not in tables:
            raise UserError(f"there is no table {name}; known: {', '.join(tables)}")
        placed.add(name)
        return f"{begin}{escaped(tables[name].caption)}:\n\n{table(tables[name])}\n{end}"

    texts = {
        path: path.read_text(encoding="utf-8")
        for each in PAGES
        for path in sorted(Path().glob(each))
    }
    pages = {path: PLACE.sub(renewed, text) for path, text in texts.items()}
    if missing := [name for name in tables if name not in placed]:
        raise UserError(
            f"no page has a place for {', '.join(missing)}; put a line <!-- {missing[0]}: written "
            f"by `make readme` --> and a line <!-- end of {missing[0]} --> where it belongs"
        )
    return {path: text for path, text in pages.items() if text != texts[path]}
