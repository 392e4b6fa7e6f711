"""Markdown and HTML from templates that escape values: what a file holds is text, never markup."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.results.comparison import Comparison
from stages.results.comparison_tables import detail_tables, verdicts_table
from stages.results.text import Markdown, Table, capital

MARKER = "<!-- results-of-a-change -->"  # the first line; CI finds its comment by it
TEMPLATES = Path(__file__).with_name("templates")
LONGEST_TABLE = 150  # rows; a comment on GitHub holds 65,536 characters
SHOWN_RULES = 30
MARKS = {"worse": "🔴", "better": "🟢", "open": "⚠️", "not compared": "⚠️"}
OTHER_MARK = "⚪"
SIGNS = re.compile(r"([\\`*_{}\[\]#|~<>&])")


def render(name: str, **values: object) -> str:
    """A template, filled in; one of Markdown has the filters `code`, `table`, `verbatim`."""
    is_html = name.endswith(".html.j2")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=is_html,  # noqa: S701  # Markdown's own way is `escaped`
        finalize=None if is_html else escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "table": table, "verbatim": Markdown}
    return environment.get_template(name).render(values)


def escaped(value: object) -> Markdown:
    """A value as text that neither Markdown nor HTML takes for markup."""
    if isinstance(value, Markdown):
        return value
    return Markdown(SIGNS.sub(r"\\\1", " ".join(str(value).split())))


def code(value: object) -> Markdown:
    """A value as code."""
    text = " ".join(str(value).split())
    if not text:
        return Markdown()
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return Markdown(f"{fence}{space}{text}{space}{fence}")


def table(shown: Table) -> Markdown:
    """A table without its caption; without rows, what is said in its place."""
    if not shown.rows:
        return escaped(shown.absent)
    columns = range(len(shown.header))
    aligned = ["---" if shown.is_text(column) else "---:" for column in columns]
    # In a cell a bar ends the cell, even within code, unless it is escaped (GitHub's Markdown).
    body: list[list[str]] = [
        [
            code(cell).replace("|", r"\|") if column in shown.code else escaped(cell)
            for column, cell in enumerate(row)
        ]
        for row in shown.rows
    ]
    lines: list[list[str]] = [[*map(escaped, shown.header)], aligned, *body]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def as_markdown(comparison: Comparison) -> str:
    """A comparison for a CI job's summary or a comment that is found again, details folded."""
    check = comparison.check
    details = detail_tables(comparison, everything=True)
    details += [check.table] if check.table else []
    broken = check.with_outcome("broken")
    return render(
        "comparison.md.j2",
        marker=MARKER,
        comparison=comparison,
        check=check,
        broken=broken[:SHOWN_RULES],
        more_broken=len(broken) - SHOWN_RULES,
        headline=capital(comparison.headline),
        sentences=[(MARKS.get(kind, OTHER_MARK), text) for kind, text in comparison.sentences()],
        verdicts=verdicts_table(comparison),
        details=[each.cut(LONGEST_TABLE) for each in details if each.rows],
    )
