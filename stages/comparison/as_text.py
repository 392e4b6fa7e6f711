"""A comparison on the terminal: the verdict first, then what differs."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table as RichTable

from stages.comparison import sections
from stages.comparison.checks import Check
from stages.comparison.findings import Findings
from stages.comparison.wording import check_text, headline, sentences
from stages.reporting.sections import Table
from stages.reporting.words import capital

COLORS = {"worse": "red", "better": "green"}
SHOWN_CODE = 12
LONGEST_NAME = 38  # columns
SHOWN_RULES = 20  # broken ones; a gate has no more, a failed reproduction has hundreds


def print_findings(findings: Findings, console: Console, *, everything: bool) -> None:
    """Print a comparison.

    Args:
        findings: of the comparison.
        console: where to.
        everything: whether to print all metrics that differ, not only the main ones.
    """
    base, head = findings.base.endpoint, findings.head.endpoint
    why = f", {base.why}" if base.why else ""
    _line(console, f"base: {base.title}{why}")
    _line(console, f"head: {head.title}")
    console.print()
    _line(console, capital(headline(findings)), "bold")
    for kind, text in sentences(findings):
        _line(console, f"- {text}", COLORS.get(kind, ""))
    if findings.unpaired:
        _line(console, f"- Not compared image by image: {findings.unpaired}.", "yellow")
    _print_check(findings.check, console)
    for note in findings.notes:
        _line(console, f"WARNING: {note}", "yellow")
    console.print()
    _print_tables(findings, console, everything=everything)


def _print_check(check: Check, console: Console) -> None:
    console.print()
    style = "bold red" if check.status in ("failed", "unreadable") else "bold"
    _line(console, check_text(check), style)
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
        _print_table(check.table, console)


def _print_tables(findings: Findings, console: Console, *, everything: bool) -> None:
    if not (findings.settings or findings.stages or any(m.differs for m in findings.metrics)):
        _line(console, "Settings, stages and metrics are the same on both sides.")
    code = sections.code_table(findings)
    hidden = len(code.rows) - SHOWN_CODE
    if hidden > 0 and not everything:
        del code.rows[SHOWN_CODE:]
        code.rows.append([f"and {hidden} more (--all)", ""])
    metrics = sections.metrics_table(findings, everything=everything)
    for table in (
        sections.judgements_table(findings),
        sections.settings_table(findings),
        sections.stages_table(findings),
        code,
        sections.flips_table(findings),
        metrics,
    ):
        _print_table(table, console)
    more = sum(metric.differs for metric in findings.metrics) - len(metrics.rows)
    if more and not everything:
        _line(console, f"{more} more metrics differ; --all shows them")


def _print_table(table: Table, console: Console) -> None:
    if not table.rows:
        return
    drawn = RichTable(
        title=escape(table.caption), title_justify="left", box=SIMPLE_HEAD, show_edge=False
    )
    for number, name in enumerate(table.header):
        is_text = number == 0 or number in (*table.code, *table.words)
        justify: JustifyMethod = "left" if is_text else "right"
        # What names the row is broken last.
        longest = max(len(line) for row in table.rows for line in row[number].split("\n"))
        least = min(longest, LONGEST_NAME) if number == 0 else None
        drawn.add_column(name, justify=justify, overflow="fold", min_width=least)
    for row in table.rows:
        drawn.add_row(*(_colored(cell) for cell in row))
    console.print(drawn)
    console.print()


def _colored(cell: str) -> str:
    color = COLORS.get(cell.partition(",\n")[0])
    return f"[{color}]{escape(cell)}[/{color}]" if color else escape(cell)


def _line(console: Console, text: str, style: str = "") -> None:
    # In a file a line is a line; a terminal breaks it between words.
    wraps = not console.is_terminal
    console.print(escape(text), style=style or None, highlight=False, soft_wrap=wraps)
