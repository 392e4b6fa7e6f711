"""What is legal in `params.yaml`, put into words from the types and limits of its fields."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stages.data.errors import UserError

Location = Sequence[int | str]
KEY = "[key]"  # pydantic's mark for: the key itself, not what stands under it
NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def mistakes(
    path: Path, model: type[BaseModel], invalid: ValidationError, section: str = ""
) -> UserError:
    """An error with a line for each mistake: file, key, value given, what is legal.

    Args:
        path: of the file.
        model: what its content, or a section of it, was held against.
        invalid: what pydantic found.
        section: name of the section; empty for the whole file.
    """
    lines = [f"{path}: {_explain(model, error, section)}" for error in invalid.errors()]
    return UserError("\nERROR: ".join(lines))


def _explain(model: type[BaseModel], error: ErrorDetails, section: str) -> str:
    location = list(error["loc"])
    unknown = error["type"] in ("extra_forbidden", "invalid_key")
    if not unknown and location[-1:] == [KEY]:
        unknown, location = True, location[:-1]
    key = ".".join(str(part) for part in ([section] if section else []) + location)
    if unknown:
        known = ", ".join(_keys_of(_annotation_at(model, location[:-1])))
        return f"{key}: unknown key; known here: {known}; correct or remove it"
    if error["type"] == "value_error":
        return f"{key}.{error['ctx']['error']}"
    legal = _describe(_annotation_at(model, location))
    if error["type"] == "missing":
        return f"{key}: is missing; allowed: {legal}; add it"
    return f"{key}: {error['input']!r} is not allowed; allowed: {legal}; correct it"


def _keys_of(annotation: Any) -> list[str]:
    if _is_section(annotation):
        return list(annotation.model_fields)
    keys, _ = get_args(_bare(annotation))
    return list(get_args(keys))


def _annotation_at(annotation: Any, location: Location) -> Any:
    for part in location:
        if _is_section(annotation):
            field = annotation.model_fields[part]
            annotation = field.annotation
            if not _is_section(annotation):
                annotation = Annotated[annotation, *field.metadata, ...]
        elif get_origin(_bare(annotation)) is dict:
            annotation = get_args(_bare(annotation))[1]
        else:  # a list
            annotation = get_args(_bare(annotation))[0]
    return annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _describe(annotation: Any) -> str:
    constraints: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        constraints += metadata
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Literal:
            return "one of " + ", ".join(map(str, arguments))
        case origin if origin is list:
            count = " to ".join(dict.fromkeys(re.findall(r"\d+", _bounds(constraints))))
            return f"a list of {count}, each {_describe(arguments[0])}"
        case origin if origin is dict:
            keys = ", ".join(get_args(arguments[0]))
            return f"a section with any of the keys {keys}, each {_describe(arguments[1])}"
        case origin if origin in (Union, UnionType):
            return " or ".join("null" if a is type(None) else _describe(a) for a in arguments)
    if _is_section(annotation):
        return "a section with the keys " + ", ".join(annotation.model_fields)
    return f"{NOUNS[annotation]} {_bounds(constraints)}".strip()


def _bounds(constraints: list[Any]) -> str:
    """Words for the limits among a field's constraints."""
    words: list[str] = []
    flat: list[Any] = []
    for constraint in constraints:
        flat += getattr(constraint, "metadata", None) or [constraint]
    for limit in flat:
        match limit:
            case annotated_types.Ge(ge=low) | annotated_types.MinLen(min_length=low):
                words.append(f"from {low}")
            case annotated_types.Gt(gt=low):
                words.append(f"above {low}")
            case annotated_types.Le(le=high) | annotated_types.MaxLen(max_length=high):
                words.append(f"to {high}")
            case annotated_types.Lt(lt=high):
                words.append(f"below {high}")
            case annotated_types.MultipleOf(multiple_of=step):
                words.append(f"in steps of {step}")
            case _ if getattr(limit, "pattern", None):
                words.append(f"that matches {limit.pattern}")
    return " ".join(words)
