"""What a search is to try, as it stands in sweep.yaml: params, their ranges, the goal."""

import copy
import re
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from ruamel.yaml import YAML

from stages.data.errors import UserError
from stages.data.files import replacing
from stages.models.names import MODELS
from stages.workflow.legal_values import validated
from stages.workflow.params import Goal, ModelName, Params, Section, Seed
from stages.workflow.pipeline import flattened, read_file, values_in
from stages.workflow.revisions import workspace


class Tried(Section):
    """Values of one param that are tried: some to choose from, or numbers from low to high.

    Attributes:
        choices: of any type that the param may have.
        low: whole numbers are tried if both ends are such.
        high: the other end.
        log: whether small numbers are tried as often as large ones.
        step: between two numbers that are tried.
    """

    choices: list[Any] | None = None
    low: Any = None
    high: Any = None
    log: bool = False
    step: Any = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Tried":
        if self.choices is not None:
            given = self.model_fields_set - {"choices"}
            if len(self.choices) < 2 or given:
                raise ValueError("allowed: choices alone, two or more; correct it")
            return self
        numbers = [self.low, self.high, 1 if self.step is None else self.step]
        if any(type(each) not in (int, float) for each in numbers) or self.low >= self.high:
            raise ValueError("allowed: choices, or low and high, low the smaller; correct it")
        is_whole = type(self.low) is type(self.high) is int
        if self.step is not None and (self.step <= 0 or (is_whole and type(self.step) is not int)):
            raise ValueError("allowed: step above 0, whole if low and high are; correct it")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("allowed: log with low above 0 and without step; correct it")
        return self

    @property
    def ends(self) -> list[Any]:
        """Values that are legal only if all are."""
        return [self.low, self.high] if self.choices is None else self.choices

    def holds(self, value: Any) -> bool:
        """Whether a value is among those that are tried."""
        if self.choices is not None:
            return value in self.choices
        return bool(self.low <= value <= self.high)


class Sweep(Section):
    """All of `sweep.yaml`."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{1,40}$")]
    model: ModelName
    goal: Goal
    trials: Annotated[int, Field(ge=1, le=10_000)]
    prune: bool
    seed: Seed
    params: Annotated[dict[str, Tried], Field(min_length=1)]

    @property
    def stage(self) -> str:
        """That trains the model."""
        return MODELS[self.model].stage

    def measure(self, metrics: Mapping[str, Any]) -> float:
        """The goal, among what the stage has measured."""
        split, name = self.goal.split(".")
        return float(metrics[split][name])


def read_sweep(path: str) -> Sweep:
    """Read and check what is to be tried.

    Raises:
        UserError: a line for each mistake: file, key, value given, what is legal.
    """
    sweep = validated(path, Sweep, values_in(read_file, path))
    listed = workspace().pipeline.stage(sweep.stage).params
    for key, tried in sweep.params.items():
        # So a search can touch neither other models nor the splits.
        if key not in listed or key.endswith(".seed"):
            known = ", ".join(each for each in sorted(listed) if not each.endswith(".seed"))
            raise UserError(
                f"{path}: params.{key}: is no setting of the training of {sweep.model}; allowed: "
                f"{known}; correct or remove it"
            )
        for value in tried.ends:
            validated(f"{path}: params", Params, _with(workspace().params, key, value))
    return sweep


def _with(params: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Params of which one has another value."""
    changed = copy.deepcopy(dict(params))
    section, last = _place_of(key, changed)
    section[last] = value
    return changed


def _place_of(key: str, params: Any) -> tuple[Any, str]:
    """The section of params that has a param, and its key there, by its dotted name."""
    *parents, last = key.split(".")
    return reduce(getitem, parents, params), last


def value_of(text: str) -> Any:
    """What a text, or all of params.yaml, stands for."""
    return YAML(typ="safe").load(text)


def write_params(path: Path, texts: Mapping[str, str]) -> None:
    """Change values in params.yaml, and nothing else in it.

    Args:
        path: the file.
        texts: the new values as YAML, by key.

    Raises:
        UserError: the file has not each value on the line of its key.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    read = YAML().load("".join(lines))
    for key, text in texts.items():
        section, last = _place_of(key, read)
        line, column = section.lc.value(last)
        comment = re.search(r"\s*(#.*)?$", lines[line])
        lines[line] = f"{lines[line][:column]}{text}{comment[0] if comment else ''}"
    changed = "".join(lines)
    wanted = {key: value_of(text) for key, text in texts.items()}
    if not wanted.items() <= flattened(value_of(changed)).items():
        told = ", ".join(f"{key}: {text}" for key, text in texts.items())
        raise UserError(f"{path}: write these yourself, each on the line of its key: {told}")
    with replacing(path) as unfinished:
        unfinished.write_text(changed, encoding="utf-8")
