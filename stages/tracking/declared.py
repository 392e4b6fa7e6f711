"""What `dvc.yaml` declares about a stage and what `dvc.lock` recorded of its last run."""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.data.errors import UserError
from stages.data.files import file_hash

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

    @functools.cached_property
    def key(self) -> str:
        """Names the computation by its content: md5, 32 hex digits, of all that is here."""
        content = [self.stage, self.params, self.deps, self.outs]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


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


def record_now(stage: str) -> StageRecord:
    """What a stage that starts now reads, as the files are at this moment.

    DVC hashes dependencies for `dvc.lock` after the run (dvc #11058): code that is edited while the
    stage runs is not the code that ran, and `differences` of the two records tells so.
    """
    deps = _hashes(declared_paths(stage, "deps"))
    return StageRecord(stage, _current_params(stage), deps, outs={})


def with_outputs(record: StageRecord) -> StageRecord:
    """What DVC will record of a stage that has finished: deps and params as they are now."""
    now = record_now(record.stage)
    outs = _hashes(declared_paths(record.stage, "outs", "metrics", "plots"))
    return StageRecord(record.stage, now.params, now.deps, outs)


def differences(earlier: StageRecord, later: StageRecord) -> list[str]:
    """Paths of dependencies and keys of params that differ between two records of a stage."""
    pairs = ((earlier.deps, later.deps), (earlier.params, later.params))
    return [
        key
        for before, after in pairs
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def workspace_records() -> dict[str, StageRecord]:
    """What DVC recorded of the last run of each stage in the working directory, by stage."""
    return records_in(LOCK_FILE.read_text(encoding="utf-8")) if LOCK_FILE.exists() else {}


def records_in(lock: str) -> dict[str, StageRecord]:
    """What the text of a dvc.lock records, by stage, in the order of the pipeline.

    Raises:
        UserError: it is not what DVC writes.
    """
    # An experiment differs from its neighbours in a few entries, and YAML takes long to read.
    _, *entries = re.split(r"^(?=  \S+:$)", lock, flags=re.MULTILINE)
    return {stage: record for entry in entries for stage, record in _records_of(entry).items()}


@functools.cache
def _records_of(entry: str) -> dict[str, StageRecord]:
    try:
        return {stage: _record_of(stage, locked) for stage, locked in _parsed(entry).items()}
    except (YAMLError, ValueError, AttributeError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{LOCK_FILE}: is not a lock file of DVC ({what}); after a merge take one side of it "
            "and run `dvc repro`"
        ) from None


def _record_of(stage: str, locked: dict[str, Any]) -> StageRecord:
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
        try:
            values = values[key]
        except (KeyError, TypeError):
            raise UserError(f"{PARAMS_FILE}: {dotted_key}: is missing; add it") from None
    return values


def _hashes(paths: list[str]) -> dict[str, str]:
    return {path: file_hash(Path(path), "md5") for path in paths if Path(path).exists()}


def _load(path: Path) -> Any:
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot be read ({what}); mend it or restore it from Git"
        ) from None


def _parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)
