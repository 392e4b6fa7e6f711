"""Whether `dvc.lock` belongs to the code, the settings and the data beside it.

`dvc status` compares the lock with the workspace, so that in a clean checkout, which has no data,
everything looks changed. Here the files that Git keeps are compared as they are, and those that DVC
keeps by what one stage is recorded to have written and another to have read. So neither data nor
cache are needed, and a revision can be checked without checking it out.
"""

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from stages.data.errors import UserError
from stages.tracking.declarations import Declaration, declarations_in
from stages.tracking.declared import (
    LOCK_FILE,
    PARAMS_FILE,
    PIPELINE_FILE,
    StageRecord,
    flattened,
    records_in,
)
from stages.tracking.kept_files import Read, mapping_in, remedy

MISSING = object()


class Kind(Enum):
    """In which way something is not as it was when the stage ran."""

    SETTING = "a setting has another value"
    READ = "a file that was read, and that Git keeps, is another one"
    REMADE = "a file that was read has been made anew"
    WRITTEN = "a file that was written, and that Git keeps, is another one"
    COMMAND = "the command is another one"
    NEW = "dvc.yaml lists what is not recorded"
    DROPPED = "dvc.yaml does not list what is recorded"
    UNRECORDED = "the stage has no entry in dvc.lock"
    LEFT_OVER = "dvc.lock has an entry for a stage that dvc.yaml does not have"


@dataclass(frozen=True)
class Change:
    """One thing that is not as `dvc.lock` recorded it.

    Attributes:
        kind: in which way.
        what: the path or the key of a setting; empty if it is the stage itself.
        told: what has happened, as a clause.
    """

    kind: Kind
    what: str
    told: str

    @property
    def needs_run(self) -> bool:
        """Whether the stage has to run; otherwise the lock only says more than it should."""
        return self.kind not in (Kind.DROPPED, Kind.LEFT_OVER)


@dataclass(frozen=True)
class StaleStage:
    """A stage whose results do not belong to what is here, or will not once others have run.

    Attributes:
        stage: its name.
        changes: why; empty if it only comes after others.
        after: stages that have to run and write what it reads.
    """

    stage: str
    changes: list[Change]
    after: list[str]

    @property
    def needs_run(self) -> bool:
        """Whether it has to run; otherwise the lock only says more than it should."""
        return bool(self.after) or any(change.needs_run for change in self.changes)


def changes_of(
    record: StageRecord,
    written: Mapping[str, str],
    settings: Mapping[str, Any],
    md5_now: Callable[[str], str | None],
    data: Collection[str],
) -> list[Change]:
    """How settings and files differ from what a stage was recorded to read and to write.

    Args:
        record: of the stage.
        written: md5 of each file as recorded of the stage that wrote it.
        settings: all settings as they are now, by dotted key.
        md5_now: gives the md5 of a file as it is now; None if it is missing.
        data: paths that DVC keeps, which need not be there and are not looked at.
    """
    changes = []
    for key, then in record.params.items():
        if (now := settings.get(key, MISSING)) != then:
            told = "missing" if now is MISSING else f"{now} and was {then}"
            changes.append(Change(Kind.SETTING, key, f"{key} is {told}"))
    for path, then in record.deps.items():
        if path not in data and (now := md5_now(path)) != then:
            told = "has changed" if now else "is missing"
            changes.append(Change(Kind.READ, path, f"{path} {told}"))
        elif written.get(path, then) != then:
            changes.append(Change(Kind.REMADE, path, f"{path} has been made anew"))
    for path, then in record.outs.items():
        if path not in data and (now := md5_now(path)) != then:
            told = "not as the stage wrote it" if now else "missing"
            changes.append(Change(Kind.WRITTEN, path, f"{path} is {told}"))
    return changes


def stale_stages(read: Read) -> list[StaleStage]:
    """Stages whose entry in `dvc.lock` does not belong to what is here, in the pipeline's order.

    After these come entries of the lock that belong to no stage.

    Raises:
        UserError: a file is missing or cannot be read, or `dvc.yaml` has what is not understood.
    """
    settings = mapping_in(read, str(PARAMS_FILE))
    declared = declarations_in(mapping_in(read, str(PIPELINE_FILE)), settings)
    recorded, commands = _recorded(read)
    written = {
        path: md5
        for stage in recorded.keys() & declared.keys()
        for path, md5 in recorded[stage].outs.items()
    }
    data = {path for each in declared.values() for path in each.data}
    md5_now = functools.cache(functools.partial(_md5_now, read))
    changes: dict[str, list[Change]] = {}
    for stage, declaration in declared.items():
        if record := recorded.get(stage):
            still = _restricted(record, declaration)
            changes[stage] = [
                *changes_of(still, written, flattened(settings), md5_now, data),
                *_changes_of_declaration(declaration, record, commands[stage]),
            ]
        else:
            changes[stage] = [Change(Kind.UNRECORDED, "", f"it is not in {LOCK_FILE}")]
    left_over = [
        StaleStage(stage, [Change(Kind.LEFT_OVER, "", f"it is not in {PIPELINE_FILE}")], [])
        for stage in recorded
        if stage not in declared
    ]
    return [*_with_followers(changes, declared), *left_over]


def _recorded(read: Read) -> tuple[dict[str, StageRecord], dict[str, Any]]:
    """What `dvc.lock` records of each stage, and the command of each."""
    content = read(str(LOCK_FILE))
    if content is None:
        return {}, {}
    entries = mapping_in(read, str(LOCK_FILE)).get("stages")
    records = records_in(content.decode())
    if not isinstance(entries, dict) or entries.keys() != records.keys():
        what = f"{LOCK_FILE}: is not as DVC writes it"
        raise UserError(f"{what}; {remedy(str(LOCK_FILE))}")
    return records, {stage: entry.get("cmd") for stage, entry in entries.items()}


def _md5_now(read: Read, path: str) -> str | None:
    """Md5 of a file that Git keeps; of one that came by `dvc add`, what its .dvc file says."""
    content = read(path)
    if content is not None:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    if read(f"{path}.dvc") is None:
        return None
    match mapping_in(read, f"{path}.dvc"):
        case {"outs": [{"md5": str(md5)}]}:
            return md5
    raise UserError(f"{path}.dvc: is not as DVC writes it; restore it from Git")


def _restricted(record: StageRecord, declaration: Declaration) -> StageRecord:
    """What of a record is still declared."""
    return replace(
        record,
        params={key: record.params[key] for key in record.params if key in declaration.params},
        deps={path: record.deps[path] for path in record.deps if path in declaration.deps},
        outs={path: record.outs[path] for path in record.outs if path in declaration.outs},
    )


def _changes_of_declaration(
    declaration: Declaration, record: StageRecord, command: Any
) -> list[Change]:
    changes = []
    if declaration.command != command:
        changes.append(Change(Kind.COMMAND, "", "its command has changed"))
    for verb, now, then in (
        ("reads", declaration.deps, record.deps.keys()),
        ("writes", declaration.outs, record.outs.keys()),
        ("reads", declaration.params, record.params.keys()),
    ):
        changes += [Change(Kind.NEW, each, f"it now {verb} {each}") for each in sorted(now - then)]
        gone = sorted(then - now)
        changes += [Change(Kind.DROPPED, each, f"it {verb} {each} no more") for each in gone]
    return changes


def _with_followers(
    changes: Mapping[str, list[Change]], declared: Mapping[str, Declaration]
) -> list[StaleStage]:
    """Stages with changes, and those that read what these write, directly or not."""
    writers = {path: stage for stage, each in declared.items() for path in each.outs}
    sources = {
        stage: {writers[path] for path in each.deps if path in writers}
        for stage, each in declared.items()
    }
    running = {stage for stage in changes if any(each.needs_run for each in changes[stage])}
    while following := {stage for stage in changes if sources[stage] & running} - running:
        running |= following
    return [
        StaleStage(
            stage, changes[stage], [each for each in declared if each in sources[stage] & running]
        )
        for stage in declared
        if stage in running or changes[stage]
    ]
