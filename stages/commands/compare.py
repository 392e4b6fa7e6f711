"""Say what a change did to the results, and whether that is more than chance.

BASE and HEAD are revisions: a branch, tag, commit, DVC experiment, or `workspace`. Each model's
answers to the same test images are compared (exact McNemar test, paired bootstrap interval, Holm's
correction over the models), and the results of HEAD are held against the rules in the section
`gate` of its params.yaml.

Exit code 0: fine; 1: the gate failed, or with --reproduced a metric is off; 2: wrong usage, or
files that cannot be read. Needs neither DVC's cache nor MLflow.
"""

import argparse
import io
from pathlib import Path

from rich.console import Console

from stages.commands.terminal import WIDTH_OF_FILES, console
from stages.comparison.endpoints import choose_endpoints
from stages.comparison.findings import Findings, compare
from stages.data.errors import UserError
from stages.data.files import replacing
from stages.workflow.command import EXIT_USER_ERROR, run_reporting_mistakes

EXIT_FAILED = 1
EXIT_CODES = {"passed": 0, "none": 0, "failed": EXIT_FAILED, "unreadable": EXIT_USER_ERROR}
FORMATS = ("table", "markdown", "json")
PIPELINE = Path("dvc.yaml")


def main() -> None:
    """Read the options, compare."""
    run_reporting_mistakes(lambda: run(_options()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        "within the tolerances of stages/comparison/tolerances.py",
    )
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    """Compare, print or write, and exit with the code that says how it went.

    Raises:
        UserError: nothing can be compared, or a file cannot be written.
    """
    import git  # after stages.workflow.repository, which lets it be imported without Git

    if not PIPELINE.exists():
        raise UserError(f"{PIPELINE}: is not here; run this in the project's folder")
    for path in (options.output, options.picture):
        if path and (not path.name or path.is_dir()):
            raise UserError(f"{str(path)!r}: is a folder; give the path of a file")
    try:
        endpoints = choose_endpoints(options.base, options.head)
        findings = compare(*endpoints, reproduced=options.reproduced)
    except git.GitError as error:
        raise UserError(f"Git: {' '.join(str(error).split())}; mend that and try again") from None
    _give(findings, options)
    if options.picture:
        _draw(findings, options.picture)
    raise SystemExit(EXIT_CODES[findings.check.status])


def _give(findings: Findings, options: argparse.Namespace) -> None:
    if options.format == "table" and not options.output:
        from stages.comparison.as_text import print_findings

        print_findings(findings, console(), everything=options.all)
        return
    text = _rendered(findings, options)
    if not options.output:
        print(text, end="")
        return
    from stages.comparison.wording import headline

    with replacing(options.output) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
    print(f"{options.output}: {headline(findings)}")


def _rendered(findings: Findings, options: argparse.Namespace) -> str:
    if options.format == "markdown":
        from stages.comparison.as_markdown import as_markdown

        return as_markdown(findings)
    if options.format == "json":
        from stages.comparison.as_json import as_json

        return as_json(findings)
    from stages.comparison.as_text import print_findings

    written = io.StringIO()
    print_findings(findings, Console(file=written, width=WIDTH_OF_FILES), everything=options.all)
    return written.getvalue()


def _draw(findings: Findings, path: Path) -> None:
    import sys

    from stages.comparison.pictures import draw_flips

    print(draw_flips(findings, path), file=sys.stderr)


if __name__ == "__main__":
    main()
