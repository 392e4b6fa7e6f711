"""The settings in `params.yaml`: what they mean, what is legal, and how they are read.

The whole file is checked before any work, so that a typo in the last section does not surface
after the first network has been trained. Each field's range stands here once; the error messages
are made from it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.data.errors import UserError
from stages.workflow.legal_values import mistakes

PARAMS_FILE = Path("params.yaml")
GATE = "gate"

ClassName = Literal[
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Epochs = Annotated[int, Field(ge=1, le=1000)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Share = Annotated[float, Field(ge=0, le=1)]
InputSize = Annotated[int, Field(ge=32, le=224, multiple_of=32)]
ModelName = Literal["baseline", "cnn", "mobilenet"]
Floored = Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"]
Ceiled = Literal["log_loss", "brier", "ece", "adaptive_ece"]


S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A section of `params.yaml`: no unknown keys, no conversions between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _without_repeats(section: S, key: str) -> S:
    values = getattr(section, key)
    if len(set(values)) < len(values):
        raise ValueError(f"{key}: {values} names one twice; name each once")
    return section


class SourcesParams(Section):
    """Where data and pretrained weights come from."""

    cifar10: Annotated[list[Literal["author", "npm"]], Field(min_length=1, max_length=2)]
    mobilenet: Annotated[str, Field(min_length=1)]
    mobilenet_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        return _without_repeats(self, "cifar10")

    @model_validator(mode="after")
    def _path_has_checksum(self) -> Self:
        is_path = self.mobilenet not in ("pypi", "keras")
        if is_path and self.mobilenet_sha256 is None:
            raise ValueError(
                f"mobilenet: {self.mobilenet!r} is neither pypi nor keras; if it is the path of a "
                "file, give its sha256 as sources.mobilenet_sha256 (64 hex digits), so that DVC "
                "notices when the file changes"
            )
        if not is_path and self.mobilenet_sha256 is not None:
            raise ValueError(
                "mobilenet_sha256: goes with a file only, and sources.mobilenet is "
                f"{self.mobilenet!r}; set null"
            )
        return self


class DataParams(Section):
    """Which images are used and how they are split."""

    classes: Annotated[list[ClassName], Field(min_length=2, max_length=10)]
    validation_fraction: Annotated[float, Field(ge=0.01, le=0.5)]
    limit_per_class: Annotated[int, Field(ge=10, le=5000)] | None
    seed: Seed

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        return _without_repeats(self, "classes")


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
    """Which model is registered in MLflow, and when it becomes the champion."""

    select_by: Literal["validation.accuracy", "validation.log_loss"]
    alpha: Annotated[float, Field(gt=0, lt=1)]


class GateParams(Section):
    """Rules for the results of a change; the last three compare with its base.

    Attributes:
        floors: the least that a model must reach on the test images, by model and measure.
        ceilings: the most that an error may be, by model and measure.
        alpha: level of the tests whether a loss is real, corrected over the models (Holm, 1979).
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


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check `params.yaml`.

    Raises:
        UserError: a line for each mistake: file, key, value given, what is legal.
    """
    try:
        # YAML 1.2, as DVC reads it: PyYAML would take 1e-3 for a string and `no` for False.
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore it from Git") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply; restore it from Git") from None
    except (YAMLError, ValueError) as error:  # ValueError: no text, or a date that is none
        what = " ".join(str(error).split())
        raise UserError(f"{path}: is not YAML ({what}); mend that line") from None
    if not isinstance(values, dict):
        sections = ", ".join(Params.model_fields)
        raise UserError(f"{path}: holds no sections; it needs {sections}")
    try:
        return Params.model_validate(values)
    except ValidationError as invalid:
        raise mistakes(path, Params, invalid) from None


def read_gate(path: Path, values: Any) -> GateParams:
    """Check the section `gate`, whatever the rest of the file holds.

    Args:
        path: of the file, for the messages.
        values: what stands in the section.

    Raises:
        UserError: a line for each mistake: file, key, value given, what is legal.
    """
    try:
        return GateParams.model_validate(values)
    except ValidationError as invalid:
        raise mistakes(path, GateParams, invalid, section=GATE) from None
