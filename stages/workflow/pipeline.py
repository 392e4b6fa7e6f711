"""DVC's files: what `dvc.yaml` declares of each stage, and what `dvc.lock` recorded of it."""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.data.errors import UserError

PIPELINE_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
PARAMS_FILE = "params.yaml"

OUTPUTS = ("outs", "metrics", "plots")
UNDERSTOOD = {"cmd", "deps", "params", *OUTPUTS, "desc", "meta"}
TEMPLATE = re.compile(r"\$\{\s*(.+?)\s*\}")
CONFLICT = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)  # what a merge of Git leaves

# Gives the content of the file at a path; None if there is none.
Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class LockEntry:
    """A computation of a stage: what went in and what came out.

    Attributes:
        stage: name of the stage.
        params: the params that it read, by dotted key; of another file than params.yaml the key is
            `FILE:key`, as DVC writes it.
        deps: md5 of each file or folder that it read.
        outs: md5 of each that it wrote; empty while it runs.
        command: what was run.
    """

    stage: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]
    command: Any = field(default=None, compare=False)

    @functools.cached_property
    def key(self) -> str:
        """Names the computation by its content: md5, 32 hex digits, of all but the command."""
        return md5_of_json([self.stage, self.params, self.deps, self.outs])

    @property
    def inputs_key(self) -> str:
        """Names what went in by its content: as `key`, but without what came out."""
        return md5_of_json([self.stage, self.params, self.deps])

    @property
    def code(self) -> dict[str, str]:
        """The deps that are code."""
        return {path: md5 for path, md5 in self.deps.items() if is_code(path)}

    @property
    def data(self) -> dict[str, str]:
        """The deps that are not code."""
        return {path: md5 for path, md5 in self.deps.items() if not is_code(path)}


@dataclass(frozen=True)
class Declaration:
    """What `dvc.yaml` says of a stage.

    Attributes:
        command: one, or a list of them.
        deps: paths that it reads.
        outs: which list each path that it writes stands in: outs, metrics or plots.
        cached: those of `outs` that DVC keeps; Git keeps the others.
        listed: the params and sections of params that it reads, named as in `LockEntry`.
        params: those params, and those of the sections, with their values now.
    """

    command: Any
    deps: list[str]
    outs: dict[str, str]
    cached: set[str]
    listed: list[str]
    params: dict[str, Any]


def md5_of(content: bytes) -> str:
    """Hex digest, by which DVC names files."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_json(values: Any) -> str:
    """One md5 for lists and mappings, whatever the order of keys."""
    return md5_of(json.dumps(values, sort_keys=True, default=str).encode())


def is_code(path: str) -> bool:
    """Whether a dependency is code."""
    return path.endswith(".py")


def changed_keys(current: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """Keys with another value, or on one side only, in the order of `current`."""
    missing = object()
    keys = dict.fromkeys([*current, *earlier])
    return [key for key in keys if current.get(key, missing) != earlier.get(key, missing)]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_file(path: str) -> bytes | None:
    """Content of a file in the working directory; None if there is none.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its rights") from None


def yaml_in(read: Read, path: str) -> dict[str, Any]:
    """The sections of a YAML file.

    Raises:
        UserError: it is missing, cannot be read, or a merge has left a conflict in it.
    """
    content = read(path)
    if content is None:
        raise UserError(f"{path}: is missing; restore it from Git")
    if found := CONFLICT.search(content):
        line = content[: found.start()].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: a merge has left a conflict; {_remedy(path)}")
    try:
        # YAML 1.2, as DVC reads it: PyYAML would take 1e-3 for a string and `no` for False.
        values = YAML(typ="safe").load(content.decode())
    except (YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split()) or "nested too deeply"
        raise UserError(f"{path}: is not YAML ({what}); {_remedy(path)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no sections; {_remedy(path)}")
    return values


def _remedy(path: str) -> str:
    if path != LOCK_FILE:
        return "mend it, or restore it from Git"
    return (
        f"take one side whole (`git checkout HEAD -- {LOCK_FILE} metrics`; `HEAD^` if it was "
        "committed so), then `dvc checkout`, `make repro`, and commit both (docs/ci.md)"
    )


def lock_entries(read: Read) -> dict[str, LockEntry]:
    """What dvc.lock recorded of each stage, in the order of the pipeline; empty if there is none.

    Raises:
        UserError: it is not what DVC writes.
    """
    content = read(LOCK_FILE)
    if content is None:
        return {}
    # An experiment differs from its neighbours in a few entries, and YAML takes long to read.
    head, *entries = re.split(rb"^(?=  \S+:\r?$)", content, flags=re.MULTILINE)
    if CONFLICT.search(content) or not re.search(rb"^stages: *(\{\})?\r?$", head, re.MULTILINE):
        yaml_in(read, LOCK_FILE)  # tells more
        raise _no_lock("it has no stages")
    return {name: each for entry in entries for name, each in _parsed_entries(entry).items()}


@functools.cache
def _parsed_entries(text: bytes) -> dict[str, LockEntry]:
    try:
        entries = YAML(typ="safe").load(text.decode())
        return {stage: _lock_entry(stage, locked) for stage, locked in entries.items()}
    except (YAMLError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise _no_lock(" ".join(str(error).split())) from None


def _no_lock(what: str) -> UserError:
    return UserError(f"{LOCK_FILE}: is not a lock file of DVC ({what}); {_remedy(LOCK_FILE)}")


def _lock_entry(stage: str, locked: dict[str, Any]) -> LockEntry:
    params: dict[str, Any] = {}
    for file, values in locked.get("params", {}).items():
        params |= {param_name(file, key): value for key, value in flattened(values).items()}
    deps, outs = (
        {each["path"]: each["md5"] for each in locked.get(kind, [])} for kind in ("deps", "outs")
    )
    return LockEntry(stage, params, deps, outs, locked.get("cmd"))


def param_name(file: str, key: str) -> str:
    """Name of a param: its key, with the file before it unless that is params.yaml."""
    return key if file == PARAMS_FILE else f"{file}:{key}"


def declarations(read: Read) -> dict[str, Declaration]:
    """What `dvc.yaml` declares, by stage, in its order; templates are filled from params.yaml.

    What this project uses is understood, and what is not is refused rather than overlooked.

    Raises:
        UserError: a file cannot be read, uses what is not understood here, or lacks a param.
    """
    pipeline = yaml_in(read, PIPELINE_FILE)
    if "vars" in pipeline:
        raise _not_understood("vars")
    params_of = functools.cache(functools.partial(yaml_in, read))
    return {
        stage: _declaration(f"stages.{stage}", entry, params_of)
        for stage, entry in (pipeline.get("stages") or {}).items()
    }


def _declaration(where: str, entry: Any, params_of: Callable[[str], Any]) -> Declaration:
    if not isinstance(entry, dict) or "cmd" not in entry:
        raise UserError(f"{PIPELINE_FILE}: {where}: has no `cmd`; `dvc status` tells more")
    if unknown := entry.keys() - UNDERSTOOD:
        raise _not_understood(f"{where}.{min(unknown)}")
    filled = _filled(entry, params_of)
    outs, cached = {}, set()
    for kind in OUTPUTS:
        for out in filled.get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            outs[path] = kind
            if options.get("cache", True):
                cached.add(path)
    params: dict[str, Any] = {}
    listed = []
    for file, key in _declared_params(where, filled):
        listed.append(param_name(file, key))
        values = {key: _value_at(params_of(file), file, key)}
        params |= {param_name(file, name): value for name, value in flattened(values).items()}
    return Declaration(filled["cmd"], filled.get("deps", []), outs, cached, listed, params)


def _declared_params(where: str, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """File and key of each param or section that a stage lists."""
    for each in entry.get("params", []):
        for file, keys in each.items() if isinstance(each, dict) else [(PARAMS_FILE, [each])]:
            if not keys or not all(isinstance(key, str) for key in keys):
                raise _not_understood(f"{where}.params: {file}")
            yield from ((file, key) for key in keys)


def _filled(value: Any, params_of: Callable[[str], Any]) -> Any:
    """A part of `dvc.yaml` with params in place of templates such as ${cnn.recipe}."""
    match value:
        case str():
            return TEMPLATE.sub(lambda found: _text_at(params_of(PARAMS_FILE), found[1]), value)
        case list():
            return [_filled(each, params_of) for each in value]
        case dict():
            return {_filled(key, params_of): _filled(value[key], params_of) for key in value}
    return value


def _text_at(params: Any, key: str) -> str:
    value = _value_at(params, PARAMS_FILE, key)
    if isinstance(value, dict | list):
        raise _not_understood(f"a template in the place of {value}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value_at(values: Any, file: str, dotted_key: str) -> Any:
    for key in dotted_key.split("."):
        if not isinstance(values, dict) or key not in values:
            raise UserError(
                f"{file}: {dotted_key}: is missing, and {PIPELINE_FILE} names it; add it"
            )
        values = values[key]
    return values


def _not_understood(what: str) -> UserError:
    return UserError(
        f"{PIPELINE_FILE}: {what}: is not understood here; use `dvc status` where the data are, or "
        "teach it in stages/workflow/pipeline.py"
    )
