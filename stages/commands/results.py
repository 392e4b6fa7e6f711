"""Print the results of the models from the files of the last `dvc repro`.

Accuracies with the 95 % interval of Wilson for the test; seconds of the training stage where a log
of this machine tells them.
"""

import argparse

from rich.console import Console
from rich.table import Table

from stages.data.files import replacing
from stages.reporting.tables import README, readme_with_tables, results_rows
from stages.workflow.command import run_reporting_mistakes


def main() -> None:
    """Print the table, or write it into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write-readme", action="store_true", help="write the tables of README.md instead"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(write_readme if arguments.write_readme else print_results)


def print_results() -> None:
    """Print the results table."""
    header, *rows = results_rows()
    table = Table(title="Share of images that are answered rightly")
    for column in header:
        table.add_column(column, justify="left" if column == header[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def write_readme() -> None:
    """Renew what stands between the markers in README.md."""
    with replacing(README) as unfinished:
        unfinished.write_text(readme_with_tables(), encoding="utf-8")


if __name__ == "__main__":
    main()
