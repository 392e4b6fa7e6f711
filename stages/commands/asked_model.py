"""The option `--model`, of commands that have a model answer."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.models.storage import Classifier


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--model",
        default="",
        metavar="MODEL",
        help="champion, baseline, cnn, mobilenet, the path of a model, or its address models:/… in "
        "MLflow (default: the champion, else the best of the workspace on validation images)",
    )


def asked_model(options: argparse.Namespace) -> "Classifier":
    """The model that was asked for; which one it is, is told.

    Raises:
        UserError: there is none, it cannot be loaded, or MLflow does not answer.
    """
    from stages.tracking.wanted_model import default_model, wanted_model

    model, known = wanted_model(options.model or default_model())
    where = [known[key] for key in ("version", "path") if key in known]
    limit = "of nothing" if model.sure_from is None else f"from {100 * model.sure_from:.1f} % on"
    told = f"{', '.join(where)}, md5 {known['md5']}; it is sure {limit}"
    print(f"the model is {told}", file=sys.stderr, flush=True)
    return model
