"""Summary runs: one for each revision with results, so that revisions compare as rows of a table.

A run of a stage has the settings and metrics of that stage alone, and is shared by all revisions
that hold its computation. A summary run has all settings of a revision and its headline metrics,
those that dvc.yaml declares under `metrics:`, and leads to the runs of its stages. It is found by
content like these, by its tag `dvc.summary`; one whose content no revision has any more is removed
by the clone that made it.
"""

import socket
import time
import uuid
from collections.abc import Mapping

from filelock import FileLock

from stages.data.files import replacing
from stages.tracking import notes, store, tags
from stages.tracking.environment import own_folder, project_root
from stages.tracking.shown import metrics_in, shown_files
from stages.tracking.store import Run
from stages.workflow.pipeline import PARAMS_FILE, md5_of_json
from stages.workflow.revisions import Revision
from stages.workflow.staleness import all_params

NO_METRICS = (
    "It has no metrics: they were measured of other files than those that its stages wrote; "
    "`dvc repro` measures these."
)


def key_of(revision: Revision) -> str:
    """Names a revision by its kind and name and its content, as md5."""
    files = [revision.md5(path) for path in (PARAMS_FILE, *revision.pipeline_files)]
    entries = sorted(entry.key for entry in revision.lock.values())
    return md5_of_json([_identity(revision), files, entries])


def complete_summary(revision: Revision, runs: Mapping[str, Run], known: Run | None = None) -> Run:
    """Make the summary run of a revision, or link it to runs that have come since.

    Args:
        revision: one that has results.
        runs: those of its computations, by `LockEntry.key`.
        known: the summary run, if there is one.

    Raises:
        UserError: params.yaml, dvc.yaml or a metrics file cannot be read.
    """
    ids = {s: runs[e.key].info.run_id for s, e in revision.lock.items() if e.key in runs}
    if known and all(each in known.data.tags.get(tags.NOTE, "") for each in ids.values()):
        return known
    seen, fits = _identity(revision), _fits(revision)
    links = {stage: f"#/experiments/{store.experiment_id()}/runs/{ids[stage]}" for stage in ids}
    title = " ".join(dict.fromkeys([seen[tags.KIND], seen[tags.REVISION]]))
    note = {tags.NOTE: notes.of_summary(title, seen, links, "" if fits else NO_METRICS)}
    if known:
        store.log(known.info.run_id, tags=note)
        return store.client().get_run(known.info.run_id)
    metrics = _headline_metrics(revision) if fits else {}
    mark = {tags.SUMMARY: key_of(revision)}
    with store.exclusive():  # another process may have made it meanwhile
        if others := store.find_runs(mark, with_deleted=True):  # or a person deleted it
            return others[0]
        named = seen | note | {tags.CLONE: this_clone()}
        run = store.start_run(seen[tags.REVISION], "dvc repro", named, time.time())
        run_id = run.info.run_id
        params = all_params(revision, {}, revision.pipeline.params)
        for entry in revision.lock.values():  # of other files, as stages read them
            params = entry.params | params
        store.log(run_id, params=params, metrics=metrics, tags=mark)
        store.client().update_run(run_id, "FINISHED")
    return store.client().get_run(run_id)


def this_clone() -> str:
    """This folder of this machine, by a number of its own: containers may share host and path."""
    number = own_folder() / "clone"
    with FileLock(f"{number}.lock"):  # experiments of a new clone may begin at once
        if not number.exists():
            with replacing(number) as unfinished:
                unfinished.write_text(uuid.uuid4().hex[:12])
    return f"{socket.gethostname()}:{project_root()} {number.read_text()}"


def _identity(revision: Revision) -> dict[str, str]:
    """Tags that say which revision it is; the workspace in which an experiment runs is that."""
    seen = {tags.DIRTY: "false", **tags.of_revision(revision)}
    seen |= {tags.KIND: revision.kind, tags.REVISION: revision.name}
    if revision.is_workspace and (name := seen.get(tags.EXPERIMENT)):
        # What differs from its baseline is the experiment.
        seen |= {tags.KIND: "experiment", tags.REVISION: name, tags.DIRTY: "false"}
    return seen


def _fits(revision: Revision) -> bool:
    """Whether every stage read what the others wrote, so that the metrics are of these results."""
    entries = revision.lock.values()
    written = {path: md5 for each in entries for path, md5 in each.outs.items()}
    read = ((path, md5) for each in entries for path, md5 in each.deps.items())
    return all(written.get(path, md5) == md5 for path, md5 in read)


def _headline_metrics(revision: Revision) -> dict[str, float]:
    """Numbers of the files that are declared as metrics; of a stage, as it wrote them."""
    files: dict[str, bytes] = {}
    for entry in revision.lock.values():
        files |= shown_files(entry, revision, ["metrics"])[0]
    listed = [path for path, kind in revision.pipeline.listed.items() if kind == "metrics"]
    for path in listed:
        for file in [path, *revision.paths_below(path)]:
            if file not in files and (content := revision.read(file)) is not None:
                files[file] = content
    return metrics_in(files)
