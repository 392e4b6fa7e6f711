"""Say what a change did to the results, and whether that is more than chance.

BASE and HEAD are revisions: a branch, tag, commit, DVC experiment, or `workspace`. Each model's
predictions for the same test images are compared (exact McNemar test, paired bootstrap interval,
Holm's correction over the models), and what differs is held against what another seed would do, as
far as metrics/seeds.csv tells. The results of HEAD are held against the rules in the section `gate`
of its params.yaml.

Exit code 0: no rule is broken; 1: the gate failed, or with --reproduced a metric is off or none was
computed here; 2: wrong usage, or files that cannot be read. Needs neither DVC's cache nor MLflow.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.errors import UserError

if TYPE_CHECKING:
    from stages.results.comparison import Comparison

EXIT_CODES = {"passed": 0, "incomplete": 0, "none": 0, "failed": 1, "unreadable": 2}
FORMATS = ("table", "markdown", "json")
PIPELINE = Path("dvc.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "base",
        nargs="?",
        default="",
        metavar="BASE",
        help="default: where HEAD left the main branch; on the main branch the last commit if the "
        "workspace has changes, else its parent; of an experiment, where it started",
    )
    parser.add_argument(
        "head", nargs="?", default="", metavar="HEAD", help="default: the workspace"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw images that turned")
    parser.add_argument("--all", action="store_true", help="in the table, all metrics that differ")
    parser.add_argument(
        "--reproduced",
        action="store_true",
        help="instead of the gate, ask that HEAD's metrics are BASE's, computed again elsewhere, "
        "within the tolerances of stages/results/reproduction.py",
    )


def run(options: argparse.Namespace) -> None:
    """Compare, print or write, and exit with the code that says how it went.

    Raises:
        UserError: nothing can be compared, or a file cannot be written.
    """
    from stages.data.files import replacing
    from stages.results.choose import choose_revisions
    from stages.results.comparison import Comparison

    if not PIPELINE.exists():
        raise UserError(f"{PIPELINE}: is not here; run this in the project's folder")
    for path in (options.output, options.picture):
        if path and (not path.name or path.is_dir()):
            raise UserError(f"{str(path)!r}: is a folder; give the path of a file")
    revisions = choose_revisions(options.base, options.head)
    comparison = Comparison(*revisions, reproduced=options.reproduced)
    text = _rendered(comparison, options)
    if options.output:
        with replacing(options.output) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
        print(f"{options.output}: {comparison.headline}")
    else:
        print(text, end="")
    if options.picture:
        from stages.results.turned_photos import draw_turned

        print(draw_turned(comparison, options.picture), file=sys.stderr)
    raise SystemExit(EXIT_CODES[comparison.check.status])


def _rendered(comparison: "Comparison", options: argparse.Namespace) -> str:
    """The text; as a table as wide as the terminal and in color, if it goes there."""
    if options.format == "markdown":
        from stages.results.markdown import as_markdown

        return as_markdown(comparison)
    if options.format == "json":
        from stages.results.as_json import as_json

        return as_json(comparison)
    from stages.commands.terminal import console
    from stages.results.terminal import print_comparison

    place = console(is_file=options.output is not None)
    with place.capture() as captured:
        print_comparison(comparison, place, everything=options.all)
    return captured.get()
