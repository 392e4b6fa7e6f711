"""One function that loads any of the models."""

from pathlib import Path

from stages.data.errors import UserError
from stages.models.storage import Classifier, read_model


def load_model(path: Path) -> Classifier:
    """Load a classifier, whatever its kind; TensorFlow is imported only if it is needed.

    Args:
        path: a file in `data/models/`.

    Raises:
        UserError: the file is missing, damaged or of an unknown kind.
    """
    stored = read_model(path)
    match stored.kind:
        case "baseline":
            from stages.models.baseline import LeastSquaresClassifier

            return LeastSquaresClassifier.from_stored(stored)
        case "cnn":
            from stages.models.cnn import load_cnn

            return load_cnn(stored)
        case "mobilenet":
            from stages.models.mobilenet import load_mobilenet

            return load_mobilenet(stored)
        case _:
            known = "baseline, cnn, mobilenet"
            raise UserError(f"{path}: is a {stored.kind!r}; this version loads {known}")
