"""What differs between two results: params, stages and what they read, metrics."""

from dataclasses import dataclass
from typing import Any, Literal

from stages.results.reading import EVALUATION, Results
from stages.workflow.pipeline import changed_keys, is_code

NO_VALUE = object()  # a param that one side does not have, where None is a value


@dataclass(frozen=True)
class ParamChange:
    """A param that differs: its key, and its value on both sides or `NO_VALUE`."""

    key: str
    base: Any
    head: Any


@dataclass(frozen=True)
class StageChange:
    """A stage that read something else: paths of code and data, and keys of params."""

    stage: str
    change: Literal["changed", "added", "removed"]
    code: list[str]
    data: list[str]
    settings: list[str]
    same_outputs: bool


@dataclass(frozen=True)
class MetricChange:
    """A number of a metrics file on both sides, None where a side has none."""

    file: str
    name: str
    base: float | None
    head: float | None

    @property
    def differs(self) -> bool:
        """Whether the sides have not the same."""
        return self.base != self.head

    @property
    def difference(self) -> float | None:
        """Head less base; None if a side has no number."""
        return None if self.base is None or self.head is None else self.head - self.base


def param_changes(base: Results, head: Results) -> list[ParamChange]:
    """Params that differ, libraries with them; empty if a side's params.yaml cannot be read."""
    if base.sections is None or head.sections is None:
        return []
    return [
        ParamChange(key, base.params.get(key, NO_VALUE), head.params.get(key, NO_VALUE))
        for key in changed_keys(head.params, base.params)
    ]


def stage_changes(base: Results, head: Results) -> list[StageChange]:
    """Stages that read other code, data or params; empty if a side has no dvc.lock."""
    found = []
    for stage in [*head.lock | base.lock] if base.lock and head.lock else ():
        if stage not in base.lock or stage not in head.lock:
            change: Literal["added", "removed"] = "added" if stage in head.lock else "removed"
            found.append(StageChange(stage, change, [], [], [], same_outputs=False))
            continue
        before, after = base.lock[stage], head.lock[stage]
        files = changed_keys(after.deps, before.deps)
        code = [path for path in files if is_code(path)]
        data = [path for path in files if not is_code(path)]
        params = changed_keys(after.params, before.params)
        same_outputs = before.outs == after.outs
        if files or params or not same_outputs:
            found.append(StageChange(stage, "changed", code, data, params, same_outputs))
    return found


def metric_changes(base: Results, head: Results) -> list[MetricChange]:
    """All numbers of the metrics files of both sides, those of the test first."""
    found = []
    for path in sorted(head.metrics | base.metrics, key=lambda path: path != EVALUATION):
        before, after = base.metrics.get(path, {}), head.metrics.get(path, {})
        found += [MetricChange(path, k, before.get(k), after.get(k)) for k in after | before]
    return found
