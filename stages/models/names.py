"""The models: what each is called in files, in tables and within a sentence, and who trains it."""

from collections.abc import Mapping
from dataclasses import dataclass

LOWER_IS_BETTER = ("log_loss", "brier", "ece")  # how such a measure's name ends


@dataclass(frozen=True)
class ModelNames:
    """What one model is called.

    Attributes:
        name: as in params and files.
        title: as in tables and pictures.
        noun: as within a sentence.
        stage: that trains it.
        path: of its file.
    """

    name: str
    title: str
    noun: str
    stage: str
    path: str


# In the order of the pipeline.
MODELS = {
    name: ModelNames(name, title, noun, stage, f"data/models/{name}.npz")
    for name, title, noun, stage in (
        ("baseline", "least squares, gray pixels", "the least-squares baseline", "train_baseline"),
        ("cnn", "CNN", "the CNN", "train_cnn"),
        ("mobilenet", "MobileNetV2, fine-tuned", "MobileNetV2", "finetune_mobilenet"),
    )
}


def noun_of(name: str) -> str:
    """How a model is called within a sentence; one that is not known here, by its name."""
    return MODELS[name].noun if name in MODELS else name


def best(values: Mapping[str, float], measure: str) -> str | None:
    """Which of several is the best, the first of equal ones; None of none.

    Args:
        values: of the measure, by name.
        measure: its name, as `validation.roc_auc`, which says whether lower is better.
    """
    sign = -1 if measure.endswith(LOWER_IS_BETTER) else 1
    return max(values, key=lambda name: sign * values[name], default=None)
