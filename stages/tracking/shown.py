"""What MLflow shows of files, by what dvc.yaml calls them and what is in them.

Numbers of JSON, YAML and TOML are metrics. Tables with a column for the step are metrics with a
step. Tables and pictures are artifacts, too. Models are kept whole.
"""

import functools
import os
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from ruamel.yaml.error import YAMLError

from stages.tracking.outputs import content_of
from stages.workflow.pipeline import LockEntry, flattened, parsed
from stages.workflow.revisions import Revision

Value = TypeVar("Value")
Series = dict[int, float]  # values by step

SHOWN = ("metrics", "plots", "kept", "model")
NUMBERS = (".json", ".yaml", ".yml", ".toml")
TABLES = {".csv": ",", ".tsv": "\t"}  # and what parts their columns
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
FOLDERS = dict.fromkeys(PICTURES, "figures") | dict.fromkeys(TABLES, "tables")  # of artifacts
STEPS = ("epoch", "step")  # columns
CLOCK = "timestamp"  # a column that DVCLive writes


def shown_files(
    entry: LockEntry, revision: Revision, kinds: Collection[str] = SHOWN
) -> tuple[dict[str, bytes], dict[str, dict[str, bytes]], list[str]]:
    """Files whose content goes into the run of a computation; of others only the md5 does.

    Args:
        entry: the computation.
        revision: where its files are.
        kinds: which are wanted, as `Pipeline.declared_at` names them.

    Returns:
        The content of each by path; the files of each model, by its path; and the paths of outputs
        that are not on this machine.
    """
    pipeline = revision.pipeline
    files: dict[str, bytes] = {}
    models: dict[str, dict[str, bytes]] = {}
    missing = []
    for path, md5 in entry.outs.items():
        if pipeline.kind_of(path) not in kinds and not pipeline.lists_below(path):
            continue
        content = content_of(revision, path, md5)
        if content is None:
            missing.append(path)
        for file, found in (content or {}).items():
            declared, kind = pipeline.declared_at(file)
            if kind not in kinds:
                continue
            if kind == "model":
                models.setdefault(declared, {})[file] = found
            else:
                files[file] = found
    return files, models, sorted(missing)


def metrics_in(files: Mapping[str, bytes]) -> dict[str, float]:
    """Numbers of files, nested keys joined by dots; what cannot be read is named and left out."""
    numbers = {}
    for path, content in files.items():
        found = _parsed(path, content)
        if isinstance(found, dict):
            flat = flattened(found).items()
            numbers[path] = {key: v for key, v in flat if isinstance(v, int | float)}
    return joined(numbers)


def series_in(files: Mapping[str, bytes]) -> dict[str, Series]:
    """Columns of tables that have one for the step; what cannot be read is named and left out."""
    columns: dict[str, dict[str, Series]] = {}
    for path, content in files.items():
        table = _table_in(path, content)
        step = next((each for each in STEPS if each in table), None)
        if step is None:
            continue
        steps = pd.to_numeric(table[step], errors="coerce")  # or names of stages, say
        table = table.drop(columns=[step, CLOCK], errors="ignore").set_index(steps)
        table = table[np.isfinite(table.index)].select_dtypes("number")
        columns[path] = {
            str(name): dict(zip(values.index.astype(int), values.astype(float), strict=True))
            for name, values in ((name, table[name].dropna()) for name in table)
        }
    return joined(columns)


def artifacts_in(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Pictures and tables, by their path among a run's artifacts: the name, if it is the only one.

    A run that shows two files of one name has them by their whole paths.
    """
    names = Counter(PurePosixPath(path).name for path in files)
    return {
        f"{FOLDERS[path.suffix.lower()]}/{path.name if names[path.name] == 1 else path}": content
        for path, content in zip(map(PurePosixPath, files), files.values(), strict=True)
        if path.suffix.lower() in FOLDERS
    }


def joined(parts: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """What several files hold, by name; a name that several have gets that of the file before it.

    That is its path below the folder that all are in, without suffix.
    """
    counts = Counter(name for values in parts.values() for name in values)
    files = {path: PurePosixPath(path.lstrip("/")) for path in parts}  # some are elsewhere
    common = os.path.commonpath([str(file.parent) for file in files.values()] or [""])
    whole: dict[str, Value] = {}
    for path, values in parts.items():
        file = files[path].relative_to(common).with_suffix("")
        for name, value in values.items():
            # DVCLive writes a file for each metric, of its name.
            of_file = str(file) if file.name == name else f"{file}.{name}"
            whole[name if counts[name] == 1 else of_file] = value
    return whole


def _parsed(path: str, content: bytes) -> Any:
    suffix = PurePosixPath(path).suffix.lower()
    try:
        return parsed(content, suffix) if suffix in NUMBERS else None
    except (ValueError, YAMLError, RecursionError) as error:
        warn_once(f"{path}: holds no metrics ({' '.join(str(error).split())[:200]})")
        return None


def _table_in(path: str, content: bytes) -> pd.DataFrame:
    """The rows of a table, or of the first list of objects in JSON or YAML, as DVC plots them."""
    if separator := TABLES.get(PurePosixPath(path).suffix.lower()):
        try:
            return pd.read_csv(BytesIO(content), sep=separator)
        except ValueError as error:
            warn_once(f"{path}: is no table ({' '.join(str(error).split())[:200]})")
            return pd.DataFrame()
    found = _parsed(path, content)
    lists = found.values() if isinstance(found, dict) else [found]
    rows = next((each for each in lists if isinstance(each, list)), [])
    return pd.DataFrame([each for each in rows if isinstance(each, dict)])


@functools.cache
def warn_once(what: str) -> None:
    """Tell what a run is without; once, as hundreds of runs may be."""
    print(f"WARNING: {what}; runs are there without it", file=sys.stderr)
