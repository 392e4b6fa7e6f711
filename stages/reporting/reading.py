"""Reading the files that a report is made from; what is damaged is one line that names the file."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.data.errors import UserError

REMEDY = "run `make repro`"


def read_numbers(path: Path) -> dict[str, Any]:
    """Read a metrics file: nested objects whose leaves are finite numbers; null counts as absent.

    Raises:
        UserError: the file is missing, is not JSON, or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); {REMEDY}") from error
    return numbers_in(content, str(path), REMEDY)


def numbers_in(content: bytes, path: str, remedy: str) -> dict[str, Any]:
    """What a metrics file holds, as `read_numbers` reads it.

    Args:
        content: of the file.
        path: of the file, for the messages.
        remedy: what to do where it is damaged, for the messages.

    Raises:
        UserError: it is not JSON, or holds something else.
    """
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); {remedy}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no object with names; {remedy}")

    def numbers(group: dict[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in group.items():
            name = prefix + key
            if isinstance(value, dict):
                found[key] = numbers(value, f"{name}.")
            elif value is not None:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise UserError(f"{path}: {name}: {value!r} is no number; {remedy}")
                if not math.isfinite(value):
                    raise UserError(f"{path}: {name}: {value} is not finite; {remedy}")
                found[key] = value
        return found

    return numbers(values, "")


def group_at(path: Path, values: dict[str, Any], key: str) -> dict[str, Any]:
    """A group of numbers that a metrics file must have.

    Raises:
        UserError: it has none.
    """
    group = values.get(key)
    if not isinstance(group, dict):
        raise UserError(f"{path}: {key}: is missing; {REMEDY}")
    return group


def optional_group(path: Path, values: dict[str, Any], key: str) -> dict[str, Any]:
    """A group of numbers, empty if the metrics file has none of that name.

    Raises:
        UserError: there is something else in its place.
    """
    return group_at(path, values, key) if key in values else {}


def number_at(path: Path, values: dict[str, Any], *keys: str) -> float:
    """A number that a metrics file must have.

    Raises:
        UserError: it has none.
    """
    *groups, last = keys
    for key in groups:
        values = group_at(path, values, key)
    if not isinstance(values.get(last), int | float):
        raise UserError(f"{path}: {'.'.join(keys)}: is missing; {REMEDY}")
    return float(values[last])


def leaves(group: dict[str, Any]) -> dict[str, float]:
    """The numbers of a group without the groups inside it."""
    return {key: value for key, value in group.items() if not isinstance(value, dict)}


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]] | None:
    """Read a CSV file, a dictionary a row, all values as they stand there; None if there is none.

    Raises:
        UserError: it cannot be read, or lacks one of `columns`.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = reader.fieldnames or []
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); {REMEDY}") from error
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise UserError(f"{path}: has no column {', '.join(lacking)}; {REMEDY}")
    short = [number for number, row in enumerate(rows, start=2) if None in row.values()]
    if short:
        raise UserError(f"{path}: line {short[0]} is cut off; {REMEDY}")
    return rows
