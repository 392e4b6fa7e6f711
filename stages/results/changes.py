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
    """A stage that read something else.

    Attributes:
        stage: its name.
        change: whether both sides have it.
        code: paths of the code that differs.
        data: paths of the other files that differ.
        settings: keys of the params that differ.
        same_outputs: whether all that it wrote is the same byte for byte.
    """

    stage: str
    change: Literal["changed", "added", "removed"]
    code: list[str]
    data: list[str]
    settings: list[str]
    same_outputs: bool


@dataclass(frozen=True)
class MetricChange:
    """A number of the metrics files on both sides, which may be the same.

    Attributes:
        file: path of the metrics file.
        name: keys joined by dots.
        base: the number, None if that side has none.
        head: the same of the other side.
    """

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
    for stage in dict.fromkeys([*head.lock, *base.lock] if base.lock and head.lock else ()):
        before, after = base.lock.get(stage), head.lock.get(stage)
        if before is None or after is None:
            change: Literal["added", "removed"] = "added" if before is None else "removed"
            found.append(StageChange(stage, change, [], [], [], same_outputs=False))
            continue
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
    files = dict.fromkeys([*head.metrics, *base.metrics])
    sides = {path: (base.metrics.get(path, {}), head.metrics.get(path, {})) for path in files}
    return [
        MetricChange(path, name, before.get(name), after.get(name))
        for path in sorted(files, key=lambda path: path != EVALUATION)
        for before, after in [sides[path]]
        for name in dict.fromkeys([*after, *before])
    ]
