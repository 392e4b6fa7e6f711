"""Print the results of the models from the files of the last `dvc repro`, and what to do next.

Accuracies with the 95 % interval of Wilson for the test; seconds of the training stage where a log
of this machine tells them.
"""

import argparse
from pathlib import Path

from stages.data.errors import UserError

README = Path("README.md")
NEXT = """\
Compare the runs in the browser: make ui
Try a change: source .venv/bin/activate && dvc exp run -S cnn.default.epochs=5
See what it did, and whether that is more than chance: make compare"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--write-readme", action="store_true", help="write the tables of README.md instead"
    )


def run(options: argparse.Namespace) -> None:
    """Print the table, or write it into the README.

    Raises:
        UserError: a file is missing or damaged, or the README has no markers.
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
    text = readme_with_tables()
    with replacing(README) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def readme_with_tables() -> str:
    """The README with its tables renewed.

    Raises:
        UserError: a marker or a file is missing.
    """
    from stages.results.markdown import table
    from stages.results.measurements import Measurements
    from stages.results.report_tables import results_table, seeds_table, times_table

    measured = Measurements()
    tables = {
        "results": results_table(measured, with_seconds=False),
        "seeds": seeds_table(measured),
        "times": times_table(),
    }
    text = README.read_text(encoding="utf-8")
    for name, shown in tables.items():
        begin, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise UserError(f"{README}: has no {begin} or {end}; put it where the table belongs")
        text = f"{before}{begin}\n{table(shown)}\n{end}{after}"
    return text
