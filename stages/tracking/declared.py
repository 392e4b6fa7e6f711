"""What `dvc.yaml` declares about a stage and what `dvc.lock` recorded of its last run."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.workflow.files import file_hash

PIPELINE_FILE = Path("dvc.yaml")
LOCK_FILE = Path("dvc.lock")
PARAMS_FILE = Path("params.yaml")


@dataclass(frozen=True)
class StageRecord:
    """A computation of a stage: what went in and what came out.

    Attributes:
        stage: name of the stage.
        params: the settings that it read, by dotted key.
        deps: md5 of each file that it read.
        outs: md5 of each file that it wrote; empty while it runs.
    """

    stage: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]


def declared_paths(stage: str, *kinds: str) -> list[str]:
    """Paths that `dvc.yaml` lists for a stage.

    Args:
        stage: name of the stage.
        kinds: which lists: `deps`, `outs`, `metrics`, `plots`.
    """
    declaration = _load(PIPELINE_FILE)["stages"][stage]
    entries = [entry for kind in kinds for entry in declaration.get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def metrics_paths() -> list[str]:
    """Paths of the metrics files of the whole pipeline, in its order."""
    stages = _load(PIPELINE_FILE)["stages"]
    return [path for stage in stages for path in declared_paths(stage, "metrics")]


def output_paths() -> set[str]:
    """Paths that stages write, of the whole pipeline."""
    stages = _load(PIPELINE_FILE)["stages"]
    return {path for stage in stages for path in declared_paths(stage, "outs", "metrics", "plots")}


def stage_that_writes(path: str) -> str:
    """Name of the stage whose output a file is."""
    stages = _load(PIPELINE_FILE)["stages"]
    return next(str(stage) for stage in stages if path in declared_paths(stage, "outs"))


def record_now(stage: str) -> StageRecord:
    """What a stage that starts now reads, as the files are at this moment.

    Dependencies are hashed here, not after the run as DVC does for `dvc.lock`: code that is edited
    while the stage runs is not the code that ran (dvc issue 11058).
    """
    deps = _hashes(declared_paths(stage, "deps"))
    return StageRecord(stage, _current_params(stage), deps, outs={})


def with_outputs(record: StageRecord) -> StageRecord:
    """The same record, completed with the files that the stage has written."""
    outs = _hashes(declared_paths(record.stage, "outs", "metrics", "plots"))
    return StageRecord(record.stage, record.params, record.deps, outs)


def record_from_lock(stage: str) -> StageRecord | None:
    """What DVC recorded of the stage's last run; None where it has not run."""
    locked = _load(LOCK_FILE).get("stages", {}).get(stage) if LOCK_FILE.exists() else None
    if locked is None:
        return None
    params = locked.get("params", {}).get(str(PARAMS_FILE), {})
    deps, outs = (
        {entry["path"]: entry["md5"] for entry in locked.get(kind, [])} for kind in ("deps", "outs")
    )
    return StageRecord(stage, flattened(params), deps, outs)


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _current_params(stage: str) -> dict[str, Any]:
    params = _load(PARAMS_FILE)
    wanted = {}
    for entry in _load(PIPELINE_FILE)["stages"][stage].get("params", []):
        # The one use of DVC's templates here: a key that is named by the value of another.
        key = re.sub(r"\$\{(.+?)\}", lambda match: str(_value_at(params, match[1])), entry)
        wanted[key] = _value_at(params, key)
    return flattened(wanted)


def _value_at(values: Any, dotted_key: str) -> Any:
    for key in dotted_key.split("."):
        values = values[key]
    return values


def _hashes(paths: list[str]) -> dict[str, str]:
    return {path: file_hash(Path(path), "md5") for path in paths if Path(path).exists()}


def _load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
