"""Print where a result comes from, as a tree: md5, run, revision, params, code, data.

Give the path of an output (data/models/cnn.npz), its md5, the id of an MLflow run, or a revision:
a branch, tag, commit, DVC experiment or `workspace`. Links that are missing are said in words.
"""

import argparse

from rich.markup import escape
from rich.tree import Tree

from stages.commands.terminal import console
from stages.workflow.command import run_reporting_mistakes


def main() -> None:
    """Read the options, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", help="a path, an md5, a run's id or a revision")
    arguments = parser.parse_args()
    run_reporting_mistakes(lambda: print_lineage(arguments.what))


def print_lineage(what: str) -> None:
    """Print the tree of a result.

    Raises:
        UserError: nothing goes by that name, or MLflow does not answer.
    """
    from stages.tracking.lineage import Lineage, Node
    from stages.tracking.store import speaking_to_mlflow

    def drawn(node: Node) -> Tree:
        text = escape(node.text)
        tree = Tree(f"[red]{text}[/red]" if node.is_gap else text, highlight=True)
        for child in node.children:
            tree.children.append(drawn(child))
        return tree

    with speaking_to_mlflow():
        tree = drawn(Lineage().of(what))
    console().print(tree)


if __name__ == "__main__":
    main()
