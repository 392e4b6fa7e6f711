"""Write the report: results, comparisons, pictures and their origin as one page, and a model card.

Both are made from files, those of the last `dvc repro`; what was not measured is said so. The page
holds its pictures and needs no network. The card is of the model that is best by
`registry.select_by`; it is meant to be committed, and is the same wherever the files are the same.
"""

import argparse
from pathlib import Path

from stages.data.errors import UserError

PAGE = Path("report/report.html")
MODEL_CARD = Path("docs/model_card.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--output", type=Path, default=PAGE, help=f"the page (default: {PAGE})")
    parser.add_argument(
        "--model-card", type=Path, default=MODEL_CARD, help=f"the card (default: {MODEL_CARD})"
    )


def run(options: argparse.Namespace) -> None:
    """Write both files, or none if anything that they need is missing or damaged.

    Raises:
        UserError: a file is missing or damaged, or a path cannot be written.
    """
    from stages.data.files import replacing
    from stages.results.measurements import read_measurements
    from stages.results.page import model_card, page

    paths = (options.output, options.model_card)
    for path in paths:
        if not path.name or path.is_dir():
            raise UserError(f"{str(path)!r}: is a folder; give the path of a file")
    measured = read_measurements()
    texts = (page(measured, {str(path) for path in paths}), model_card(measured))
    for path, text in zip(paths, texts, strict=True):
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
        print(f"{path}: {len(text.encode()) / 1e6:.2f} MB")
