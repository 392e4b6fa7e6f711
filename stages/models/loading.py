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
    if stored.kind == "baseline":
        from stages.models.baseline import LeastSquaresClassifier

        return LeastSquaresClassifier.from_stored(stored)
    if stored.kind not in ("cnn", "mobilenet"):
        known = "baseline, cnn, mobilenet"
        raise UserError(f"{path}: is a {stored.kind!r}; this version loads {known}")
    from stages.models.cnn import build_cnn
    from stages.models.mobilenet import build_mobilenet
    from stages.models.network import from_stored

    return from_stored(stored, build_cnn if stored.kind == "cnn" else build_mobilenet)
