"""What differs between two sides: settings, stages and what they read, metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stages.comparison.sides import Side
from stages.reporting.recorded import CODE, changed_keys
from stages.reporting.tables import EVALUATION
from stages.tracking.declared import StageRecord


class Absent:
    """Stands for a value that one side does not have, where None is a value."""


ABSENT = Absent()


@dataclass(frozen=True)
class SettingChange:
    """A setting that differs.

    Attributes:
        key: joined by dots.
        base: its value, `ABSENT` if that side has no such key.
        head: the same of the other side.
    """

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
        settings: keys of the settings that differ.
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


def setting_changes(base: Side, head: Side) -> list[SettingChange]:
    """Settings of `params.yaml` that differ; empty if a side has none that can be read."""
    if base.settings is None or head.settings is None:
        return []
    before, after = base.flat_settings, head.flat_settings
    return [
        SettingChange(key, before.get(key, ABSENT), after.get(key, ABSENT))
        for key in changed_keys(after, before)
    ]


def stage_changes(
    base: Mapping[str, StageRecord], head: Mapping[str, StageRecord]
) -> list[StageChange]:
    """Stages that read other code, data or settings, in the order of the pipeline.

    Args:
        base: what its dvc.lock records, by stage.
        head: the same of the other side.
    """
    found = []
    for stage in dict.fromkeys([*head, *base]):
        before, after = base.get(stage), head.get(stage)
        if before is None or after is None:
            change: Literal["added", "removed"] = "added" if before is None else "removed"
            found.append(StageChange(stage, change, [], [], [], same_outputs=False))
            continue
        files = changed_keys(after.deps, before.deps)
        settings = changed_keys(after.params, before.params)
        same_outputs = before.outs == after.outs
        if files or settings or not same_outputs:
            code = [path for path in files if path.endswith(CODE)]
            data = [path for path in files if not path.endswith(CODE)]
            found.append(StageChange(stage, "changed", code, data, settings, same_outputs))
    return found


def stages_by_code(changes: list[StageChange]) -> dict[str, list[str]]:
    """For each path of code that differs, the stages that read it."""
    found: dict[str, list[str]] = {}
    for change in changes:
        for path in change.code:
            found.setdefault(path, []).append(change.stage)
    return dict(sorted(found.items()))


def metric_changes(base: Side, head: Side) -> list[MetricChange]:
    """All numbers of the metrics files of both sides, those of the test first."""
    files = dict.fromkeys([*head.metrics, *base.metrics])
    found = []
    for file in sorted(files, key=lambda path: path != str(EVALUATION)):
        before, after = base.metrics.get(file, {}), head.metrics.get(file, {})
        found += [
            MetricChange(file, name, before.get(name), after.get(name))
            for name in dict.fromkeys([*after, *before])
        ]
    return found
