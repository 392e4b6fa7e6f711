"""The page and the model card, made from facts by templates; all values are escaped."""

from dataclasses import dataclass
from pathlib import Path

from stages.data import perturbations
from stages.data.near_duplicates import NEAR_DUPLICATE_SIMILARITY
from stages.reporting import sections
from stages.reporting.pictures import PictureGroup
from stages.reporting.provenance import Provenance, sources_table
from stages.reporting.results import Results
from stages.reporting.tables import percent
from stages.reporting.templating import html_templates, markdown_templates
from stages.reporting.words import counted, listed, question, verdict, with_interval

TEMPLATES = Path(__file__).with_name("templates")
LICENCE = Path("LICENSE")


@dataclass(frozen=True)
class Facts:
    """All that the page shows."""

    results: Results
    provenance: Provenance
    pictures: list[PictureGroup]


def render_page(facts: Facts) -> str:
    """The report as one HTML page that needs no other file."""
    template = html_templates(TEMPLATES).get_template("report.html.j2")
    return template.render(
        provenance=facts.provenance, pictures=facts.pictures, **_shared(facts.results)
    )


def render_model_card(results: Results) -> str:
    """The card of the chosen model, in Markdown; it depends on the results and nothing else."""
    template = markdown_templates(TEMPLATES).get_template("model_card.md.j2")
    return template.render(
        sources=sources_table(results.params), has_licence=LICENCE.exists(), **_shared(results)
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
