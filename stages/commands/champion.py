"""Propose a result: its best model is registered, and is the champion if it is better.

The best model by `registry.select_by` of REVISION becomes a version of the registered model. The
alias `champion` moves to it if it keeps to `gate` in params.yaml and is better than the champion on
the same test images, or no champion was measured on these. Nothing else moves the alias.

Exit code 0: it is the champion; 1: it was refused; 2: wrong usage, files that cannot be read, or
MLflow does not answer.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "revision",
        nargs="?",
        default="workspace",
        metavar="REVISION",
        help="a branch, tag, commit or experiment (default: workspace)",
    )
    parser.add_argument(
        "--accept-equal",
        action="store_true",
        help="accept a model that is not better, too, if its test accuracy is below that of the "
        "best champion so far by no more than registry.margin",
    )


def run(options: argparse.Namespace) -> None:
    """Propose, print the verdict, and exit with the code that says how it went.

    Raises:
        UserError: files cannot be read, there is no such revision, or MLflow does not answer.
    """
    from stages.results.promotion import propose
    from stages.tracking.outputs import revision_with_results
    from stages.tracking.store import speaking_to_mlflow

    with speaking_to_mlflow():
        revision = revision_with_results(options.revision)
        accepted, said = propose(revision, accept_equal=options.accept_equal)
    print(said)
    raise SystemExit(0 if accepted else 1)
