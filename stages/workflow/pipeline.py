"""DVC's files: what `dvc.yaml` declares of each stage, and what `dvc.lock` recorded of it.

Templates, `vars`, `foreach`, `matrix` and files of params are read by DVC's own parser, through
which any project of DVC is understood. A project may have such files in several folders; paths are
given from the project's folder, and stages go by the names that DVC gives them.
"""

import functools
import hashlib
import io
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.data.errors import UserError

PIPELINE_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
PARAMS_FILE = "params.yaml"

OUTPUTS = ("outs", "metrics", "plots")
# As a file of params or metrics may be written, by DVC's parsers; any other is YAML.
PARSED = (".json", ".toml", ".py")
CODE = {".py", ".ipynb", ".r", ".R", ".Rmd", ".jl", ".sh", ".sql", ".scala", ".java", ".cpp", ".c"}
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
        folder: in which it runs; empty for the project's own.
        frozen: whether DVC is told not to run it, whatever has changed.
    """

    command: Any
    deps: list[str]
    outs: dict[str, str]
    cached: set[str]
    listed: list[str]
    params: dict[str, Any]
    folder: str = ""
    frozen: bool = False


@dataclass(frozen=True)
class Pipeline:
    """What all `dvc.yaml` of a project declare.

    Attributes:
        stages: by name.
        listed: kind of each file and folder that is listed beside the stages: metrics, plots or
            model.
        params: files of params that are listed there.
    """

    stages: dict[str, Declaration]
    listed: dict[str, str]
    params: list[str]

    @functools.cached_property
    def _kinds(self) -> dict[str, str]:
        declared = {
            path: "kept" if kind == "outs" and path not in stage.cached else kind
            for stage in self.stages.values()
            for path, kind in stage.outs.items()
        }
        return declared | self.listed

    def stage(self, name: str) -> Declaration:
        """What is declared of a stage.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.stages:
            raise UserError(f"{PIPELINE_FILE}: has no stage {name}; restore it from Git")
        return self.stages[name]

    def declared_at(self, path: str) -> tuple[str, str]:
        """Where something is declared, itself or a folder that it is in, and its kind there.

        A kind is metrics, plots, model, `kept` (an out that Git keeps) or outs (any other).
        """
        for each in [path, *map(str, PurePosixPath(path).parents)]:
            if each in self._kinds:
                return each, self._kinds[each]
        return path, "outs"

    def kind_of(self, path: str) -> str:
        """What a file that a stage wrote is declared as."""
        return self.declared_at(path)[1]

    def lists_below(self, folder: str) -> bool:
        """Whether something in a folder has a kind of its own."""
        return any(path.startswith(f"{folder}/") for path in self.listed)


def md5_of(content: bytes) -> str:
    """Hex digest, by which DVC names files."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_json(values: Any) -> str:
    """One md5 for lists and mappings, whatever the order of keys."""
    return md5_of(json.dumps(values, sort_keys=True, default=str).encode())


def is_code(path: str) -> bool:
    """Whether a dependency is code."""
    return PurePosixPath(path).suffix in CODE


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


def values_in(read: Read, path: str) -> dict[str, Any]:
    """The sections of a file of settings: YAML, or by its suffix JSON, TOML or Python.

    Raises:
        UserError: it is missing, cannot be read, or a merge has left a conflict in it.
    """
    content = _merged(read, path)
    suffix = PurePosixPath(path).suffix.lower()
    try:
        values = parsed(content, suffix)
    except (YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split()) or "nested too deeply"
        kind = suffix[1:].upper() if suffix in PARSED else "YAML"
        raise UserError(f"{path}: is not {kind} ({what}); {_remedy(path)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no sections; {_remedy(path)}")
    return values


def _merged(read: Read, path: str) -> bytes:
    """Content of a file that is there, and in which a merge has left no conflict."""
    content = read(path)
    if content is None:
        raise UserError(f"{path}: is missing; restore it from Git")
    if found := CONFLICT.search(content):
        line = content[: found.start()].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: a merge has left a conflict; {_remedy(path)}")
    return content


def parsed(content: bytes, suffix: str) -> Any:
    """What a file of settings or metrics holds, as DVC reads it.

    Raises:
        ValueError: it cannot be read so; YAMLError, if it is YAML.
    """
    if suffix not in PARSED:
        # YAML 1.2, as DVC reads it: PyYAML would take 1e-3 for a string and `no` for False.
        return YAML(typ="safe").load(content.decode())
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import PARSERS

    try:
        return PARSERS[suffix](content.decode(), "")
    except DvcException as error:
        raise ValueError(str(error.__cause__ or error)) from None


def _remedy(path: str) -> str:
    if path != LOCK_FILE:
        return "mend it, or restore it from Git"
    return (
        f"take one side whole (`git checkout HEAD -- {LOCK_FILE} metrics`; `HEAD^` if it was "
        "committed so), then `dvc checkout`, `make repro`, and commit both (docs/ci.md)"
    )


def lock_entries(
    read: Read, folder: str = "", working_folders: Mapping[str, str] | None = None
) -> dict[str, LockEntry]:
    """What dvc.lock recorded of each stage, in the order of the pipeline; empty if there is none.

    Args:
        read: gives files of the project.
        folder: that of the lock file; empty for the project's own.
        working_folders: of the stages that run in another folder than that, by their names here.

    Raises:
        UserError: it is not what DVC writes.
    """
    path = posixpath.join(folder, LOCK_FILE)
    content = read(path)
    if content is None:
        return {}
    # An experiment differs from its neighbours in a few entries, and YAML takes long to read.
    head, *texts = re.split(rb"^(?=  [^\s#].*:\r?$)", content, flags=re.MULTILINE)
    if CONFLICT.search(content) or not re.search(rb"^stages: *(\{\})?\r?$", head, re.MULTILINE):
        locked = values_in(read, path)  # tells more
        if "schema" in locked and "stages" not in locked:
            raise _no_lock(path, "it has no stages")
        # DVC 1 wrote the stages alone.
        entries = _entries(path, locked.get("stages") or locked)
    else:
        # Other sections, such as datasets, come after.
        texts = [re.split(rb"^(?=\S)", text, maxsplit=1, flags=re.MULTILINE)[0] for text in texts]
        entries = {name: each for text in texts for name, each in _parsed(path, text).items()}
    if not folder and not working_folders:
        return entries
    return {
        name: _moved(each, name, (working_folders or {}).get(name, folder))
        for stage, each in entries.items()
        for name in [stage_name(folder, stage)]
    }


def stage_name(folder: str, stage: str) -> str:
    """What DVC calls a stage of the dvc.yaml in a folder."""
    return f"{folder}/{PIPELINE_FILE}:{stage}" if folder else stage


def path_from(folder: str, path: str) -> str:
    """The path from the project's folder of what a file in a folder names; an address stays."""
    return path if "://" in path else posixpath.normpath(posixpath.join(folder, path))


def _moved(entry: LockEntry, name: str, folder: str) -> LockEntry:
    """The entry of a stage that runs in a folder, with paths from the project's folder."""
    deps, outs = (
        {path_from(folder, path): md5 for path, md5 in paths.items()}
        for paths in (entry.deps, entry.outs)
    )
    params = {}
    for key, value in entry.params.items():
        file, _, own = key.rpartition(":")
        params[param_name(path_from(folder, file or PARAMS_FILE), own)] = value
    return LockEntry(name, params, deps, outs, entry.command)


@functools.lru_cache(maxsize=10_000)
def _parsed(path: str, text: bytes) -> dict[str, LockEntry]:
    try:
        return _entries(path, YAML(typ="safe").load(text.decode()))
    except (YAMLError, ValueError) as error:
        raise _no_lock(path, " ".join(str(error).split())) from None


def _entries(path: str, locked: Any) -> dict[str, LockEntry]:
    try:
        return {stage: _lock_entry(stage, each) for stage, each in locked.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise _no_lock(path, " ".join(str(error).split())) from None


def _no_lock(path: str, what: str) -> UserError:
    return UserError(f"{path}: is not a lock file of DVC ({what}); {_remedy(LOCK_FILE)}")


def _lock_entry(stage: str, locked: dict[str, Any]) -> LockEntry:
    params: dict[str, Any] = {}
    for file, values in locked.get("params", {}).items():
        params |= {param_name(file, key): value for key, value in flattened(values).items()}
    deps, outs = (
        {each["path"]: _hash_in(each) for each in locked.get(kind, [])} for kind in ("deps", "outs")
    )
    return LockEntry(stage, params, deps, outs, locked.get("cmd"))


def _hash_in(locked: dict[str, Any]) -> str:
    """The md5 of a file; of one that is elsewhere what names its content there."""
    names = (locked.get(each) for each in ("md5", "etag", "checksum", "version_id"))
    return str(next(filter(None, names), None) or md5_of_json(locked))


def param_name(file: str, key: str) -> str:
    """Name of a param: its key, with the file before it unless that is params.yaml."""
    return key if file == PARAMS_FILE else f"{file}:{key}"


def read_pipeline(read: Read, folders: Iterable[str] = ("",)) -> Pipeline:
    """What each `dvc.yaml` declares, stages in its order.

    Args:
        read: gives files of the project.
        folders: those that have a dvc.yaml; empty for the project's own.

    Raises:
        UserError: a file cannot be read, is not as DVC takes it, or lacks a param.
    """
    from dvc.exceptions import DvcException

    whole = Pipeline({}, {}, [])
    values_of = functools.cache(functools.partial(values_in, read))
    for folder in folders:
        path = posixpath.join(folder, PIPELINE_FILE)
        try:
            part = _Parser(read, folder, values_of).pipeline()
        except DvcException as error:
            what = " ".join(str(error).split())
            raise UserError(f"{path}: {what}; mend it, or `dvc status` tells more") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = " ".join(str(error).split())
            raise UserError(
                f"{path}: is not as DVC takes it ({what}); `dvc status` tells more"
            ) from None
        whole = Pipeline(
            whole.stages | part.stages, whole.listed | part.listed, whole.params + part.params
        )
    return whole


def _files(read: Read) -> SimpleNamespace:
    """The files of a project, as DVC's parser asks for them."""
    return SimpleNamespace(
        join=posixpath.join,
        normpath=posixpath.normpath,
        exists=lambda path: read(path) is not None,
        isdir=lambda _path: False,
        suffix=lambda path: PurePosixPath(path).suffix,
        open=lambda path, **_: io.StringIO(_merged(read, path).decode()),
    )


class _Parser:
    """Reads the dvc.yaml of one folder."""

    def __init__(self, read: Read, folder: str, values_of: Callable[[str], Any]) -> None:
        from dvc.parsing import DataResolver

        self._folder, self._values_of = folder, values_of
        self._path = posixpath.join(folder, PIPELINE_FILE)
        content = values_of(self._path)
        if isinstance(plots := content.get("plots"), dict):  # as DVC 2 took them
            content = content | {"plots": [{title: plots[title]} for title in plots]}
        if read(params := posixpath.join(folder, PARAMS_FILE)) is not None:
            values_of(params)  # DVC reads it for templates; this says better what is wrong with it
        # Of DVC's project, its parser asks for the files and a section of its settings.
        project = SimpleNamespace(fs=_files(functools.cache(read)), config={})
        self._resolver = DataResolver(project, folder, content)

    def pipeline(self) -> Pipeline:
        stages = {
            stage_name(self._folder, each): self._declaration(each)
            for each in self._resolver.get_keys()
        }
        params = [path_from(self._folder, each) for each in self._resolver.resolve_params()]
        listed = dict.fromkeys(self._resolver.resolve_metrics(), "metrics")
        for plot in self._resolver.resolve_plots():
            listed |= dict.fromkeys(_files_of_plot(plot), "plots")
        for artifact in self._resolver.resolve_artifacts().values():
            if artifact and artifact.get("type") == "model":
                listed[artifact["path"]] = "model"
        listed = {path_from(self._folder, path): kind for path, kind in listed.items()}
        return Pipeline(stages, listed, params)

    def _declaration(self, name: str) -> Declaration:
        filled = self._resolver.resolve_one(name)[name]
        if "cmd" not in filled:
            where = f"{self._path}: stages.{name}"
            raise UserError(f"{where}: has no `cmd`; `dvc status` tells more")
        folder = path_from(self._folder, filled.get("wdir") or "")
        folder = "" if folder == "." else folder
        outs, cached = {}, set()
        for kind in OUTPUTS:
            for out in filled.get(kind) or []:
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                path = path_from(folder, path)
                outs[path] = kind
                if (options or {}).get("cache", True):
                    cached.add(path)
        params: dict[str, Any] = {}
        listed = []
        for file, key in _declared_params(filled):
            path = path_from(folder, file)
            listed.append(param_name(path, key))
            values = {key: self._value_at(path, key)} if key else self._values_of(path)
            params |= {param_name(path, each): v for each, v in flattened(values).items()}
        deps = [path_from(folder, path) for path in filled.get("deps") or []]
        frozen = bool(filled.get("frozen"))
        return Declaration(filled["cmd"], deps, outs, cached, listed, params, folder, frozen)

    def _value_at(self, file: str, dotted_key: str) -> Any:
        values = self._values_of(file)
        for key in dotted_key.split("."):
            if not isinstance(values, dict) or key not in values:
                raise UserError(
                    f"{file}: {dotted_key}: is missing, and {self._path} names it; add it"
                )
            values = values[key]
        return values


def _declared_params(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """File and key of each param or section that a stage lists; no key for a whole file."""
    for each in entry.get("params") or []:
        for file, keys in each.items() if isinstance(each, dict) else [(PARAMS_FILE, [each])]:
            yield from ((file, key) for key in keys or [""])


def _files_of_plot(plot: Any) -> Iterator[str]:
    """Files of an entry of `plots:`: a path, or a title or path with settings."""
    if isinstance(plot, str):
        yield plot
        return
    for title, settings in plot.items():
        files = [settings[axis] for axis in "xy" if isinstance((settings or {}).get(axis), dict)]
        yield from (path for each in files for path in each) if files else [title]
