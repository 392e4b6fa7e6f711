"""The section `gate` of params.yaml: what the results of a change must keep to in CI."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.workflow.legal_values import mistakes

SECTION = "gate"
Share = Annotated[float, Field(ge=0, le=1)]
ModelName = Literal["baseline", "cnn", "mobilenet"]
Floored = Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"]
Ceiled = Literal["log_loss", "brier", "ece", "adaptive_ece"]


class GateParams(BaseModel):
    """Rules for the results of a change; the last three compare with its base.

    Attributes:
        floors: the least that a model must reach on the test images, by model and measure.
        ceilings: the most that an error may be, by model and measure.
        alpha: level of the tests whether a loss is real, corrected over the models (Holm, 1979).
        max_accuracy_loss: a real loss of accuracy is let pass up to this.
        max_brier_rise: a real rise of the Brier score is let pass up to this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    floors: dict[ModelName, dict[Floored, Share]]
    ceilings: dict[ModelName, dict[Ceiled, Annotated[float, Field(ge=0)]]]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    max_accuracy_loss: Share
    max_brier_rise: Share


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
        raise mistakes(path, GateParams, invalid, section=SECTION) from None
