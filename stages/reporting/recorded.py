"""What params.yaml and dvc.lock say of a state of the project, and whether its files fit them."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.tracking.declared import LOCK_FILE, StageRecord
from stages.workflow.staleness import Kind, changes_of

CODE = ".py"
METRICS_FOLDER = "metrics/"
SHOWN_NAMES = 6


def settings_in(content: bytes) -> dict[str, Any] | None:
    """The sections of a `params.yaml`; None if it cannot be read."""
    try:
        values = YAML(typ="safe").load(content.decode())
    except (YAMLError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def changed_keys(current: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """Keys with another value, or on one side only, in the order of `current`."""
    missing = object()
    keys = [*current, *(key for key in earlier if key not in current)]
    return [key for key in keys if current.get(key, missing) != earlier.get(key, missing)]


def find_doubts(
    records: Mapping[str, StageRecord],
    settings: Mapping[str, Any],
    md5_of: Callable[[str], str | None],
) -> list[str]:
    """Reasons why the files may not belong together, a sentence each.

    Args:
        records: what DVC recorded, by stage.
        settings: all of `params.yaml`, keys joined by dots.
        md5_of: gives the md5 of the file at a path, None if there is none.
    """
    if not records:
        return [f"{LOCK_FILE} is missing or empty: nothing tells which files these results are of."]
    written = {path: md5 for record in records.values() for path, md5 in record.outs.items()}
    paths = written.keys() | {path for record in records.values() for path in record.deps}
    data = {path for path in paths if not path.startswith(METRICS_FOLDER) and not _is_code(path)}
    md5_once = functools.cache(md5_of)
    changes = [
        change
        for record in records.values()
        for change in changes_of(record, written, settings, md5_once, data)
    ]
    changed = {kind: {each.what for each in changes if each.kind is kind} for kind in Kind}
    findings = (
        (changed[Kind.SETTING], f"settings are not those which {LOCK_FILE} recorded"),
        (changed[Kind.WRITTEN], f"results are not the files which {LOCK_FILE} recorded"),
        (set(filter(_is_code, changed[Kind.READ])), "code is not that which ran"),
        (changed[Kind.REMADE], "files were made anew after another stage had read them"),
    )
    return [f"Some {what}: {some(found)}." for found, what in findings if found]


def _is_code(path: str) -> bool:
    return path.endswith(CODE)


def some(names: Collection[str], shown: int = SHOWN_NAMES) -> str:
    """The first names in the order of the alphabet, and how many more there are."""
    first = sorted(names)[:shown]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
