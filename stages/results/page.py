"""The report as one page, and the model card, made from measurements by templates."""

from pathlib import Path

from stages.data import perturbations
from stages.data.near_duplicates import NEAR_DUPLICATE_SIMILARITY
from stages.results import report_tables, text
from stages.results.gallery import gather_pictures
from stages.results.markdown import render
from stages.results.measurements import Measurements
from stages.results.provenance import Provenance

LICENCE = Path("LICENSE")


def page(measured: Measurements, own_files: set[str]) -> str:
    """The report as one HTML page that needs no other file; `own_files` are what it writes.

    Raises:
        UserError: a picture is damaged.
    """
    provenance = Provenance(measured.results, own_files)
    return _rendered("report.html.j2", measured, provenance=provenance, pictures=gather_pictures())


def model_card(measured: Measurements) -> str:
    """The card of the chosen model, in Markdown; it depends on the results and nothing else."""
    return _rendered("model_card.md.j2", measured, has_licence=LICENCE.exists())


def _rendered(template: str, measured: Measurements, **more: object) -> str:
    return render(
        template,
        measured=measured,
        chosen=measured.chosen,
        tables=report_tables,
        text=text,
        question=f"{text.capital(text.listed(measured.classes, 'or'))}?",
        perturbations=perturbations,
        similarity=NEAR_DUPLICATE_SIMILARITY,
        **more,
    )
