"""All that `dvc.yaml` says about its stages, with settings in place of its templates.

(`stages.tracking.declared` reads of it what a running stage needs.) What this project uses is
understood, and what is not is refused rather than overlooked.
"""

import re
from dataclasses import dataclass
from typing import Any

from stages.data.errors import UserError
from stages.tracking.declared import PARAMS_FILE, PIPELINE_FILE, flattened

OUTPUTS = ("outs", "metrics", "plots")
UNDERSTOOD = {"cmd", "deps", "params", *OUTPUTS, "desc", "meta"}
TEMPLATE = re.compile(r"\$\{\s*(.+?)\s*\}")
FILES = (".yaml", ".yml", ".json", ".toml", ".py")  # `params` may name a file as a whole


@dataclass(frozen=True)
class Declaration:
    """What `dvc.yaml` says about a stage.

    Attributes:
        command: one, or a list of them.
        deps: paths that it reads.
        outs: paths that it writes.
        data: those of `outs` that DVC keeps; Git keeps the others.
        params: keys of the settings that it reads; of a section, each key in it.
    """

    command: Any
    deps: set[str]
    outs: set[str]
    data: set[str]
    params: set[str]


def declarations_in(pipeline: dict[str, Any], settings: dict[str, Any]) -> dict[str, Declaration]:
    """What a `dvc.yaml` declares, by stage, in its order.

    Args:
        pipeline: content of `dvc.yaml`.
        settings: content of `params.yaml`.

    Raises:
        UserError: it uses what is not understood here, or a setting that is missing.
    """
    if "vars" in pipeline:
        raise _not_understood("vars")
    return {
        stage: _declaration(f"stages.{stage}", entry, settings)
        for stage, entry in (pipeline.get("stages") or {}).items()
    }


def _declaration(where: str, entry: Any, settings: dict[str, Any]) -> Declaration:
    if not isinstance(entry, dict) or "cmd" not in entry:
        raise UserError(f"{PIPELINE_FILE}: {where}: has no `cmd`; `dvc status` tells more")
    for key in entry:
        if key not in UNDERSTOOD:
            raise _not_understood(f"{where}.{key}")
    filled = _filled(entry, settings)
    outs: dict[str, bool] = {}
    for kind in OUTPUTS:
        for out in filled.get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            outs[path] = options.get("cache", True)
    params: dict[str, Any] = {}
    for key in filled.get("params", []):
        if not isinstance(key, str) or key.endswith(FILES):
            raise _not_understood(f"{where}.params: {key}")
        params[key] = _value_at(settings, key)
    return Declaration(
        command=filled["cmd"],
        deps=set(filled.get("deps", [])),
        outs=set(outs),
        data={path for path, is_cached in outs.items() if is_cached},
        params=set(flattened(params)),
    )


def _filled(value: Any, settings: dict[str, Any]) -> Any:
    """A part of `dvc.yaml` with settings in place of templates such as ${cnn.recipe}."""
    match value:
        case str():
            return TEMPLATE.sub(lambda found: _text_of(_value_at(settings, found[1])), value)
        case list():
            return [_filled(each, settings) for each in value]
        case dict():
            return {_filled(key, settings): _filled(value[key], settings) for key in value}
    return value


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        raise _not_understood(f"a template in the place of {value}")
    return str(value)


def _value_at(settings: Any, dotted_key: str) -> Any:
    for key in dotted_key.split("."):
        if not isinstance(settings, dict) or key not in settings:
            raise UserError(
                f"{PARAMS_FILE}: {dotted_key}: is missing, and {PIPELINE_FILE} names it; add it"
            )
        settings = settings[key]
    return settings


def _not_understood(what: str) -> UserError:
    return UserError(
        f"{PIPELINE_FILE}: {what}: is not understood here; use `dvc status` where the data are, or "
        "teach it in stages/tracking/declarations.py"
    )
