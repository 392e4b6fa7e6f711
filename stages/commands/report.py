"""Write the report: results, comparisons, pictures and their origin as one page, and a model card.

Both are made from files, those of the last `dvc repro`; what was not measured is said so. The page
holds its pictures and needs no network. The card is of the model that is best by
`registry.select_by`; it is meant to be committed, and is the same wherever the files are the same.
"""

import argparse
from pathlib import Path

from stages.data.errors import UserError
from stages.data.files import replacing
from stages.reporting.pictures import gather_pictures
from stages.reporting.provenance import gather_provenance
from stages.reporting.rendering import Facts, render_model_card, render_page
from stages.reporting.results import gather_results
from stages.workflow.command import run_reporting_mistakes

PAGE = Path("report/report.html")
MODEL_CARD = Path("docs/model_card.md")


def main() -> None:
    """Read the options, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=PAGE, help=f"the page (default: {PAGE})")
    parser.add_argument(
        "--model-card", type=Path, default=MODEL_CARD, help=f"the card (default: {MODEL_CARD})"
    )
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: write_report(arguments.output, arguments.model_card))


def write_report(page: Path, model_card: Path) -> None:
    """Write both files, or none if anything that they need is missing or damaged.

    Raises:
        UserError: a file is missing or damaged, or a path cannot be written.
    """
    for path in (page, model_card):
        if not path.name or path.is_dir():
            raise UserError(f"{str(path)!r}: is a folder; give the path of a file")
    results = gather_results()
    provenance = gather_provenance(results, own_files={str(page), str(model_card)})
    rendered = {
        page: render_page(Facts(results, provenance, gather_pictures())),
        model_card: render_model_card(results),
    }
    for path, text in rendered.items():
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
        print(f"{path}: {len(text.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
