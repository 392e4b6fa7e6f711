"""Templates that escape the values in them: what a file holds is text, never markup."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.reporting.sections import Table

MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]#|~<>&])")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def html_templates(folder: Path) -> Environment:
    """Templates that give HTML.

    Args:
        folder: of the templates.
    """
    return _environment(folder, autoescape=True)


def markdown_templates(folder: Path) -> Environment:
    """Templates that give Markdown, with the filters `code`, `table` and `verbatim`.

    Args:
        folder: of the templates.
    """
    environment = _environment(folder, autoescape=False)
    environment.finalize = markdown_text
    environment.filters |= {
        "code": markdown_code,
        "table": markdown_table,
        "verbatim": Markdown,
    }
    return environment


def _environment(folder: Path, *, autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=autoescape,  # noqa: S701  # Markdown's own way is `markdown_text`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def markdown_text(value: object) -> Markdown:
    """A value as text that neither Markdown nor HTML takes for markup."""
    if isinstance(value, Markdown):
        return value
    one_line = " ".join(str(value).split())
    return Markdown(MARKDOWN_SIGNS.sub(r"\\\1", one_line))


def markdown_code(value: object) -> Markdown:
    """A value as code."""
    text = " ".join(str(value).split())
    if not text:
        return Markdown()
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return Markdown(f"{fence}{space}{text}{space}{fence}")


def markdown_table(table: Table) -> Markdown:
    """A table without its caption."""
    aligned = [
        "---" if number == 0 or number in (*table.code, *table.words) else "---:"
        for number in range(len(table.header))
    ]
    header = [str(markdown_text(cell)) for cell in table.header]
    body = [
        [
            _code_cell(cell) if number in table.code else str(markdown_text(cell))
            for number, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in (header, aligned, *body)))


def _code_cell(text: str) -> str:
    # In a cell a bar ends the cell, even within code, unless it is escaped (GitHub's Markdown).
    return str(markdown_code(text)).replace("|", r"\|")
