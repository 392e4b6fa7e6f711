"""Where the results come from: commit, params, data, and what DVC recorded of each stage."""

from contextlib import suppress
from typing import Any

from stages.data.errors import UserError
from stages.results.reading import Results
from stages.results.text import ABSENT, Table, counted, param
from stages.workflow.pipeline import LOCK_FILE, PARAMS_FILE, LockEntry, changed_keys
from stages.workflow.revisions import Revision, commit_of, git_says
from stages.workflow.staleness import all_params


class Provenance:
    """Where the results come from.

    Args:
        results: that are reported.
        own_files: paths which the report itself writes; that they differ says nothing.

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

    def __init__(self, results: Results, own_files: set[str]) -> None:
        self.commit, self.date, self.changed, self.gap = _checkout(own_files)
        committed: dict[str, Any] = {}
        if self.commit:
            with suppress(UserError):
                committed = all_params(Revision("HEAD", "commit", self.commit), results.lock)
        changed = changed_keys(results.params, committed) if committed else []
        self.params_changed = len(changed)
        self.params = _params_table(results.params, committed, changed)
        self.lineage = [_lineage(entry) for entry in results.lock.values()]
        no_lock = [results.gaps[LOCK_FILE]] if LOCK_FILE in results.gaps else []
        self.warnings = [*no_lock, *results.warnings]


def _checkout(own_files: set[str]) -> tuple[str, str, list[str], str]:
    """Commit, its day, what is not as in it, and why there is none."""
    try:
        if not (commit := commit_of("HEAD")):
            return "", "", [], "nothing is committed yet"
        day = git_says("show", "--no-patch", "--no-show-signature", "--format=%cs", commit)
        listing = ("diff", "--name-only", "--relative", "--no-renames", "-z", commit)
        changed = git_says(*listing) + git_says("ls-files", "--others", "--exclude-standard", "-z")
    except UserError:
        return "", "", [], "Git tells none here"
    return commit, day, sorted({*filter(None, changed.split("\0"))} - own_files), ""


def _params_table(current: dict[str, Any], committed: dict[str, Any], changed: list[str]) -> Table:
    header = ["setting", "value", *["in the commit"] * bool(changed)]
    rows = []
    for key in current | dict.fromkeys(changed):
        row = [key, param(current[key]) if key in current else ABSENT]
        if changed:
            before = param(committed[key]) if key in committed else ABSENT
            row.append(before if key in changed else "")
        rows.append(row)
    return Table(f"All of {PARAMS_FILE}", header, rows, code=tuple(range(len(header))))


def _lineage(entry: LockEntry) -> Table:
    rows = [["read", path, md5] for path, md5 in entry.data.items()]
    rows += [["wrote", path, md5] for path, md5 in entry.outs.items()]
    code, params = counted(len(entry.code), "file"), counted(len(entry.params), "setting")
    caption = f"{entry.stage}, by {code} of code and {params}"
    return Table(caption, ["", "file", "md5"], rows, code=(1, 2))
