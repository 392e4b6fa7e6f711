"""Print where a result comes from, as a tree: md5, run, revision, params, code, data.

Give the path of an output (data/models/cnn.npz), its md5, the id of an MLflow run, or a revision:
a branch, tag, commit, DVC experiment or `workspace`. Links that are missing are said in words.
"""

import argparse

from stages.commands.project import add_project, enter_project


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name what is looked for, and the project."""
    add_project(parser)
    parser.add_argument("what", help="a path, an md5, a run's id or a revision")


def run(options: argparse.Namespace) -> None:
    """Print the tree of a result.

    Raises:
        UserError: nothing goes by that name, or MLflow does not answer.
    """
    from stages.commands.terminal import console
    from stages.tracking.lineage import Lineage
    from stages.tracking.store import speaking_to_mlflow

    enter_project(options)
    with speaking_to_mlflow():
        tree = Lineage().of(options.what)
    console().print(tree, markup=False)
