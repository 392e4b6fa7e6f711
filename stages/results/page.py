"""The report as one page, and the model card, made from measurements by templates."""

from pathlib import Path

from stages.data import perturbations
from stages.data.near_duplicates import NEAR_DUPLICATE_SIMILARITY
from stages.results import provenance, report_tables, text
from stages.results.gallery import gather_pictures
from stages.results.markdown import templates
from stages.results.measurements import Measurements
from stages.results.verdicts import Kind, kind_of, sentence_on

LICENCE = Path("LICENSE")


def page(measured: Measurements, own_files: set[str]) -> str:
    """The report as one HTML page that needs no other file.

    Args:
        measured: what is reported.
        own_files: paths which the report itself writes.

    Raises:
        UserError: a picture is damaged.
    """
    template = templates("html").get_template("report.html.j2")
    return template.render(
        provenance=provenance.find_provenance(measured.results, own_files),
        batches=provenance.batches_table(),
        pictures=gather_pictures(),
        **_shared(measured),
    )


def model_card(measured: Measurements) -> str:
    """The card of the chosen model, in Markdown; it depends on the results and nothing else."""
    template = templates("markdown").get_template("model_card.md.j2")
    return template.render(has_licence=LICENCE.exists(), **_shared(measured))


def _shared(measured: Measurements) -> dict[str, object]:
    """What both templates use."""
    return {
        "measured": measured,
        "chosen": measured.chosen,
        "tables": report_tables,
        "text": text,
        "question": f"{text.capital(text.listed(measured.classes, 'or'))}?",
        "sources": provenance.sources_table(measured.params),
        "perturbations": perturbations,
        "similarity": NEAR_DUPLICATE_SIMILARITY,
        "verdicts": _verdicts(measured),
    }


def _verdicts(measured: Measurements) -> list[tuple[Kind, str]]:
    """On each pair of models, what the difference on the test images is, and a sentence."""
    found = []
    for first, second, test in measured.pairs:
        kind: Kind = "not measured"
        if test:
            kind = kind_of(test.difference, test.p, measured.params.registry.alpha)
        found.append((kind, sentence_on(first, second, test, kind, measured.test_images)))
    return found
