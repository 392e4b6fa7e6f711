"""Mistakes in params in words; what is legal is taken from the JSON Schema of the model."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stages.data.errors import UserError

# Types and limits of JSON Schema.
NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "to below {}",
    "multipleOf": "in steps of {}",
    "pattern": "that matches {}",
    "minLength": "of at least {} character",
}


M = TypeVar("M", bound=BaseModel)


def validated(path: str | Path, model: type[M], values: Any, *section: str) -> M:
    """The values of a file, or of a section of it, as a model.

    Args:
        path: of the file, for the messages.
        model: what is legal.
        values: what stands there.
        section: keys that lead to the values; none for the whole file.

    Raises:
        UserError: a line for each mistake: file, key, value given, what is legal.
    """
    try:
        return model.model_validate(values)
    except ValidationError as invalid:
        schema = model.model_json_schema()
        told = (_told(schema, section, each) for each in invalid.errors())
        raise UserError("\nERROR: ".join(f"{path}: {line}" for line in told)) from None


def _told(whole: dict[str, Any], section: tuple[str, ...], error: ErrorDetails) -> str:
    """Key, value and what is legal there."""
    schema = whole
    key = ".".join(map(str, (*section, *error["loc"])))
    for part in error["loc"]:
        known = schema.get("properties") or schema.get("propertyNames", {}).get("enum")
        if known and part not in known:
            key = key.removesuffix(".[key]")  # pydantic's mark for: the key, not what it holds
            return f"{key}: unknown key; known here: {', '.join(known)}; correct or remove it"
        within = schema.get("properties") or {part: schema.get("additionalProperties")}
        schema = schema.get("items") or within[part]
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].split("/")[-1]]
    if error["type"] == "missing":
        return f"{key}: is missing; allowed: {_legal(schema)}; add it"
    if error["type"] == "value_error":
        return f"{key}: {error['input']!r} is not allowed; {error['ctx']['error']}"
    return f"{key}: {error['input']!r} is not allowed; allowed: {_legal(schema)}; correct it"


def _legal(schema: dict[str, Any]) -> str:
    match schema:
        case {"anyOf": choices}:
            return " or ".join(map(_legal, choices))
        case {"enum": values}:
            return "one of " + ", ".join(values)
        case {"items": item, "minItems": low, "maxItems": high}:
            return f"a list of {low if low == high else f'{low} to {high}'}, each {_legal(item)}"
        case {"properties": keys}:
            return "a section with the keys " + ", ".join(keys)
        case {"propertyNames": {"enum": keys}}:
            return "a section with any of the keys " + ", ".join(keys)
    limits = [words.format(schema[key]) for key, words in LIMITS.items() if key in schema]
    return " ".join([NOUNS[schema["type"]], *limits])
