"""A comparison on the terminal: the verdict first, then what differs."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from stages.results.comparison import Comparison
from stages.results.comparison_tables import detail_tables, verdicts_table
from stages.results.gate import Check
from stages.results.text import Table, capital
from stages.workflow.revisions import SHORT, Revision

COLORS = {"worse": "red", "better": "green", "open": "yellow", "not compared": "yellow"}
LONGEST_NAME = 38  # columns
SHOWN_RULES = 20  # broken ones; a gate has no more, a failed reproduction has hundreds


def print_comparison(comparison: Comparison, console: Console, *, everything: bool) -> None:
    """Print a comparison, with the main metrics that differ or with everything."""
    why = f", {comparison.why}" if comparison.why else ""
    _line(console, f"base: {_title(comparison.base.revision)}{why}")
    _line(console, f"head: {_title(comparison.head.revision)}\n")
    _line(console, capital(comparison.headline), "bold")
    for kind, text in comparison.sentences():
        _line(console, f"- {text}", COLORS.get(kind, ""))
    console.print()
    color = {"failed": "red", "unreadable": "red", "incomplete": "yellow"}
    _line(console, comparison.check_text, f"bold {color.get(comparison.check.status, '')}")
    _print_check(comparison.check, console)
    for note in comparison.notes:
        _line(console, f"WARNING: {note}", "yellow")
    console.print()
    details = detail_tables(comparison, everything=everything)
    differing = sum(metric.differs for metric in comparison.metrics)
    if not (comparison.params or comparison.stages or differing):
        _line(console, "Settings, stages and metrics are the same on both sides.")
    for table in (verdicts_table(comparison), *details):
        print_table(table, console)
    if more := differing - len(details[-1].rows):
        _line(console, f"{more} more metrics differ; --all shows them")


def _print_check(check: Check, console: Console) -> None:
    broken = check.with_outcome("broken")
    for rule in broken[:SHOWN_RULES]:
        _line(console, f"- {rule.name}: {rule.sentence}", "red")
    if len(broken) > SHOWN_RULES:
        _line(console, f"- and {len(broken) - SHOWN_RULES} more", "red")
    for rule in check.with_outcome("not checked"):
        _line(console, f"- {rule.name}: not checked: {rule.sentence}")
    for text in check.loosened:
        _line(console, f"RULES LOOSENED: {text}", "bold yellow")
    if check.table:
        console.print()
        print_table(check.table, console)


def _title(revision: Revision) -> str:
    """Name and commit."""
    name, commit = revision.name, revision.commit
    return name if commit.startswith(name) else f"{name} ({commit[:SHORT]})"


def print_table(table: Table, console: Console) -> None:
    """Print a table, and nothing if it has no rows."""
    if not table.rows:
        return
    title = escape(table.caption)
    drawn = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for number, name in enumerate(table.header):
        # What names the row is broken last.
        longest = max(len(line) for row in table.rows for line in row[number].split("\n"))
        drawn.add_column(
            name,
            justify="left" if table.is_text(number) else "right",
            overflow="fold",
            min_width=min(longest, LONGEST_NAME) if number == 0 else None,
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell, COLORS.get(cell.partition(",\n")[0], "")) for cell in row))
    console.print(drawn)
    console.print()


def _line(console: Console, text: str, style: str = "") -> None:
    # In a file a line is a line; a terminal breaks it between words.
    wraps = not console.is_terminal
    console.print(escape(text), style=style or None, highlight=False, soft_wrap=wraps)
