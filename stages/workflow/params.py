"""The params in `params.yaml`: what they mean, what is legal, and how they are read.

The whole file is checked before any work, so that a typo in the last section does not surface
after the first network has been trained. Each field's range stands here once; the error messages
are made from it.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from stages.data.cifar10 import CLASS_NAMES
from stages.workflow.legal_values import validated
from stages.workflow.pipeline import PARAMS_FILE, read_file, values_in

GATE, REGISTRY = "gate", "registry"


def _without_repeats(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("name each once")
    return names


def _regular_expression(pattern: str) -> str:
    try:
        if re.compile(pattern).groups > 1:
            raise ValueError("allowed: at most one pair of parentheses, around what names a group")
    except re.error as error:
        raise ValueError(f"it is no regular expression ({error}); correct it") from None
    return pattern


ClassName = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Epochs = Annotated[int, Field(ge=1, le=1000)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0.01, le=0.5)]
Side = Annotated[int, Field(ge=32, le=224)]
InputSize = Annotated[int, Field(ge=32, le=224, multiple_of=32)]
ModelName = Literal["baseline", "cnn", "mobilenet"]
Floored = Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"]
Goal = Literal["validation.accuracy", "validation.balanced_accuracy", "validation.roc_auc"]
Ceiled = Literal["log_loss", "brier", "ece", "adaptive_ece"]


class Section(BaseModel):
    """A section of `params.yaml`: no unknown keys, no conversions between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SourcesParams(Section):
    """Where data and pretrained weights come from."""

    cifar10: Annotated[
        list[Literal["author", "npm"]],
        Field(min_length=1, max_length=2),
        AfterValidator(_without_repeats),
    ]
    mobilenet: Annotated[str, Field(min_length=1)]
    mobilenet_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None

    @field_validator("mobilenet_sha256")
    @classmethod
    def _goes_with_a_path(cls, sha256: str | None, others: ValidationInfo) -> str | None:
        source = others.data.get("mobilenet", "pypi")
        if source == "pypi" and sha256 is not None:
            raise ValueError("it goes with a file only, and sources.mobilenet is 'pypi'")
        if source != "pypi" and sha256 is None:
            raise ValueError(
                f"sources.mobilenet is {source!r}, not pypi; if that is the path of a file, give "
                "its sha256 (64 hex digits), so that it is checked and DVC notices a change"
            )
        return sha256


class DataParams(Section):
    """Which images are used and how they are split.

    Attributes:
        classes: names; empty for all folders of `folder`.
    """

    source: Literal["cifar10", "folder"]
    folder: Annotated[str, Field(min_length=1)]
    classes: Annotated[list[ClassName], AfterValidator(_without_repeats)]
    photo_size: Side
    image_size: Side
    validation_fraction: Fraction
    test_fraction: Fraction
    group_pattern: Annotated[str, Field(min_length=1), AfterValidator(_regular_expression)] | None
    group_near_duplicates: bool
    limit_per_class: Annotated[int, Field(ge=10)] | None
    class_weights: Literal["none", "balanced"]
    seed: Seed

    @field_validator("classes", mode="before")
    @classmethod
    def _of_the_source(cls, classes: Any, others: ValidationInfo) -> Any:
        is_cifar10 = others.data.get("source") == "cifar10"
        if classes == "all":
            return [*CLASS_NAMES] if is_cifar10 else []
        if not isinstance(classes, list) or len(classes) < 2:
            raise ValueError("allowed: a list of two or more names, or all; correct it")
        if is_cifar10 and (strange := [each for each in classes if each not in CLASS_NAMES]):
            known = ", ".join(CLASS_NAMES)
            raise ValueError(f"CIFAR-10 has no {strange[0]!r}; allowed: some of {known}, or all")
        return classes


class BaselineParams(Section):
    """The least-squares classifier."""

    ridge: Annotated[float, Field(ge=0, le=1e9)]


class TrainingParams(Section):
    """How a network is trained; the same keys for both networks."""

    optimizer: Literal["rmsprop", "adamw", "sgd"]
    learning_rate: LearningRate
    schedule: Literal["constant", "cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    weight_averaging: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    mirror: bool
    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    epochs: Epochs
    average_with_mirror: bool


class CnnRecipe(TrainingParams):
    """Architecture and training of the CNN."""

    input: Literal["color", "grayscale"]
    standardize: bool
    filters: Annotated[list[Annotated[int, Field(ge=1, le=512)]], Field(min_length=3, max_length=3)]
    kernel_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=9)]], Field(min_length=3, max_length=3)
    ]
    dense_units: Annotated[int, Field(ge=1, le=4096)]
    batch_norm: bool
    shift: Annotated[int, Field(ge=0, le=8)]


class CnnParams(Section):
    """The small CNN: which recipe, and the recipes."""

    recipe: Literal["default", "lecture"]
    seed: Seed
    default: CnnRecipe
    lecture: CnnRecipe

    @property
    def chosen(self) -> CnnRecipe:
        """The recipe that `recipe` names."""
        return self.lecture if self.recipe == "lecture" else self.default


class MobilenetParams(TrainingParams):
    """Transfer learning from ImageNet."""

    seed: Seed
    input_size: InputSize
    first_trainable_block: Annotated[int, Field(ge=2, le=17)]
    head_epochs: Annotated[int, Field(ge=0, le=1000)]
    head_learning_rate: LearningRate


class AuditParams(Section):
    """How wrong labels are looked for among the training images."""

    input_size: InputSize
    folds: Annotated[int, Field(ge=2, le=20)]


class EvaluationParams(Section):
    """How the models are measured."""

    robustness_images: Annotated[int, Field(ge=1, le=10_000)]


class RegistryParams(Section):
    """Which model is proposed as the champion, and how far an equal one may fall behind.

    Attributes:
        select_by: the measure by which the best model is proposed.
        margin: test accuracy that an equal model may lack to the best champion so far.
    """

    select_by: Goal
    margin: Share


class GateParams(Section):
    """Rules for the results of a change; the last three compare with its base.

    Attributes:
        floors: the least that a model must reach on the test images, by model and measure.
        ceilings: the most that an error may be, by model and measure.
        alpha: level of the tests whether a loss is real, corrected over the models.
        max_accuracy_loss: a real loss of accuracy is let pass up to this.
        max_brier_rise: a real rise of the Brier score is let pass up to this.
    """

    floors: dict[ModelName, dict[Floored, Share]]
    ceilings: dict[ModelName, dict[Ceiled, Annotated[float, Field(ge=0)]]]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    max_accuracy_loss: Share
    max_brier_rise: Share


class Params(Section):
    """All of `params.yaml`."""

    sources: SourcesParams
    data: DataParams
    baseline: BaselineParams
    cnn: CnnParams
    mobilenet: MobilenetParams
    audit: AuditParams
    evaluation: EvaluationParams
    registry: RegistryParams
    gate: GateParams

    def warning_of(self, stage: str) -> str:
        """What is legal and yet makes the results of a stage say little; empty if nothing does."""
        data, pixels = self.data, 32 * 32  # of the baseline, whatever the photos have
        limit = data.limit_per_class if data.source == "cifar10" else None
        if stage != "train_baseline" or not limit or self.baseline.ridge:
            return ""
        n_images = len(data.classes) * round(limit * (1 - data.validation_fraction))
        if n_images > pixels:
            return ""
        return (
            f"{n_images} training images are no more than the {pixels} pixels of each, so least "
            "squares fits them without an error and says little of others; raise "
            "data.limit_per_class or baseline.ridge"
        )


def read_params(path: Path = Path(PARAMS_FILE)) -> Params:
    """Read and check `params.yaml`.

    Raises:
        UserError: a line for each mistake: file, key, value given, what is legal.
    """
    return validated(path, Params, values_in(read_file, str(path)))
