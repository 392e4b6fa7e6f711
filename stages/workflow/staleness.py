"""Whether `dvc.lock` belongs to the code, the params and the data of a revision.

`dvc status` compares the lock with the workspace, so that in a clean checkout, which has no data,
everything looks changed. Here the files that Git keeps are compared as they are, and those that DVC
keeps by what one stage is recorded to have written and another to have read. So neither data nor
cache are needed, and a revision can be checked without checking it out.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from stages.workflow.pipeline import (
    LOCK_FILE,
    PARAMS_FILE,
    PIPELINE_FILE,
    Declaration,
    LockEntry,
    flattened,
    param_name,
    values_in,
)

if TYPE_CHECKING:
    from stages.workflow.revisions import Revision  # Git takes 0.2 s

MISSING = object()


class Kind(Enum):
    """In which way something is not as it was when the stage ran."""

    PARAM = "a param has another value"
    READ = "a file that was read, and that Git keeps, is another one"
    REMADE = "a file that was read has been made anew"
    WRITTEN = "a file that was written, and that Git keeps, is another one"
    DECLARED = "dvc.yaml declares what is not recorded"
    RECORDED = "dvc.lock records what is not declared, which no run needs and none removes"


@dataclass(frozen=True)
class Change:
    """One thing that is not as `dvc.lock` recorded it.

    Attributes:
        kind: in which way.
        what: the path or the key of a param; empty if it is the stage itself.
        told: what has happened, as a clause.
    """

    kind: Kind
    what: str
    told: str


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
        return bool(self.after) or _need_run(self.changes)


def changes_of(
    entry: LockEntry,
    written: Mapping[str, str],
    params: Mapping[str, Any],
    md5_now: Callable[[str], str | None],
    data: Collection[str],
) -> list[Change]:
    """How params and files differ from what a stage was recorded to read and to write.

    Args:
        entry: of the stage.
        written: md5 of each file as recorded of the stage that wrote it.
        params: as they are now, named as in `LockEntry`; there may be more than the stage reads.
        md5_now: gives the md5 of a file or folder as it is now; None if it is missing.
        data: paths that DVC keeps, which need not be there and are not looked at.
    """
    changes = []
    for key, then in entry.params.items():
        if (now := params.get(key, MISSING)) != then:
            told = "missing" if now is MISSING else f"{now} and was {then}"
            changes.append(Change(Kind.PARAM, key, f"{key} is {told}"))
    for path, then in entry.deps.items():
        if path not in data and (now := md5_now(path)) != then:
            told = "has changed" if now else "is missing"
            changes.append(Change(Kind.READ, path, f"{path} {told}"))
        elif written.get(path, then) != then:
            changes.append(Change(Kind.REMADE, path, f"{path} has been made anew"))
    for path, then in entry.outs.items():
        if path not in data and (now := md5_now(path)) != then:
            told = "not as the stage wrote it" if now else "missing"
            changes.append(Change(Kind.WRITTEN, path, f"{path} is {told}"))
    return changes


def all_params(
    revision: "Revision", entries: Mapping[str, LockEntry], files: Iterable[str] = ()
) -> dict[str, Any]:
    """All params of a revision: of params.yaml, each file that an entry names, and other files.

    Raises:
        UserError: a file cannot be read.
    """
    named = (key.split(":")[0] for each in entries.values() for key in each.params if ":" in key)
    return {
        param_name(file, key): value
        for file in dict.fromkeys([PARAMS_FILE, *named, *files])
        if revision.read(file) is not None
        for key, value in flattened(values_in(revision.read, file)).items()
    }


def stale_stages(revision: "Revision") -> list[StaleStage]:
    """Stages whose entry in `dvc.lock` does not belong to what is here, in the pipeline's order.

    After these come entries of the lock that belong to no stage.

    Raises:
        UserError: a file is missing or cannot be read, or `dvc.yaml` has what is not understood.
    """
    declared, entries = revision.pipeline.stages, revision.lock
    written = {
        path: md5
        for name in declared
        if name in entries
        for path, md5 in entries[name].outs.items()
    }
    data = {path for each in declared.values() for path in each.cached}
    md5_now = functools.cache(lambda path: revision.md5(path) or revision.added_md5(path))
    not_there = Change(Kind.DECLARED, "", f"it is not in {LOCK_FILE}")
    # DVC runs a frozen one for nothing.
    changes = {name: [] if each.frozen else [not_there] for name, each in declared.items()}
    for name in [each for each in declared if changes[each] and each in entries]:
        found = changes_of(entries[name], written, declared[name].params, md5_now, data)
        listed = _changes_of_list(declared[name], entries[name])
        dropped = {each.what for each in listed if each.kind is Kind.RECORDED}
        changes[name] = [*(each for each in found if each.what not in dropped), *listed]
    left_over = Change(Kind.RECORDED, "", f"it is not in {PIPELINE_FILE}")
    return [
        *_with_followers(changes, declared),
        *(StaleStage(name, [left_over], []) for name in entries if name not in declared),
    ]


def _changes_of_list(declaration: Declaration, entry: LockEntry) -> list[Change]:
    """How what `dvc.yaml` lists differs from what is recorded."""
    changes = []
    if declaration.command != entry.command:
        changes.append(Change(Kind.DECLARED, "", "its command has changed"))
    # Of a whole file, the name ends with the file's.
    of_sections = tuple(
        each if not each or each.endswith(":") else f"{each}." for each in declaration.listed
    )
    for verb, now, then in (
        ("reads", declaration.deps, entry.deps),
        ("writes", declaration.outs, entry.outs),
        ("reads", declaration.params, entry.params),
    ):
        new = sorted(set(now) - set(then))
        changes += [Change(Kind.DECLARED, each, f"it now {verb} {each}") for each in new]
        # What is missing in a section that is still read is a change of params.
        gone = sorted(each for each in set(then) - set(now) if not each.startswith(of_sections))
        changes += [Change(Kind.RECORDED, each, f"it {verb} {each} no more") for each in gone]
    return changes


def _with_followers(
    changes: Mapping[str, list[Change]], declared: Mapping[str, Declaration]
) -> list[StaleStage]:
    """Stages with changes, and those that read what these write, directly or not."""
    before = {
        name: [writer for writer in declared if set(declared[writer].outs) & set(each.deps)]
        for name, each in declared.items()
    }
    running = {name for name in declared if _need_run(changes[name])}
    frozen = {name for name in declared if declared[name].frozen}
    while following := {n for n in declared if running & set(before[n])} - running - frozen:
        running |= following
    return [
        StaleStage(name, changes[name], [each for each in before[name] if each in running])
        for name in declared
        if name in running or changes[name]
    ]


def _need_run(changes: list[Change]) -> bool:
    return any(each.kind is not Kind.RECORDED for each in changes)
