"""The page and the model card, made from facts by templates; all values are escaped."""

import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.commands.tables import percent
from stages.data import perturbations
from stages.data.near_duplicates import NEAR_DUPLICATE_SIMILARITY
from stages.reporting import sections
from stages.reporting.pictures import PictureGroup
from stages.reporting.provenance import Provenance, sources_table
from stages.reporting.results import Results
from stages.reporting.sections import Table
from stages.reporting.words import counted, listed, question, verdict, with_interval

TEMPLATES = Path(__file__).with_name("templates")
LICENCE = Path("LICENSE")
MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]#|~<>&])")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


@dataclass(frozen=True)
class Facts:
    """All that the page shows."""

    results: Results
    provenance: Provenance
    pictures: list[PictureGroup]


def render_page(facts: Facts) -> str:
    """The report as one HTML page that needs no other file."""
    template = _environment(html=True).get_template("report.html.j2")
    return template.render(
        provenance=facts.provenance, pictures=facts.pictures, **_shared(facts.results)
    )


def render_model_card(results: Results) -> str:
    """The card of the chosen model, in Markdown; it depends on the results and nothing else."""
    environment = _environment(html=False)
    environment.finalize = markdown_text
    environment.filters |= {
        "code": markdown_code,
        "table": markdown_table,
        "verbatim": Markdown,
    }
    return environment.get_template("model_card.md.j2").render(
        sources=sources_table(results.params), has_licence=LICENCE.exists(), **_shared(results)
    )


def _environment(*, html: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=html,  # noqa: S701  # Markdown has its own way, `markdown_text`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shared(results: Results) -> dict[str, object]:
    """What both templates use."""
    alpha = results.params.registry.alpha
    return {
        "results": results,
        "chosen": results.chosen,
        "sections": sections,
        "question": question(results.classes),
        "counted": counted,
        "listed": listed,
        "with_interval": with_interval,
        "accuracy": sections.ACCURACY,
        "percent": percent,
        "perturbations": perturbations,
        "similarity": NEAR_DUPLICATE_SIMILARITY,
        "verdicts": [
            verdict(comparison, results.test_images, alpha) for comparison in results.comparisons
        ],
    }


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
