"""MLflow mirrors DVC: each computation of a stage is a run, found again by the md5 of its files.

The problem: DVC knows what a result was made from, MLflow shows and compares, and neither knows of
the other. Joined by a run id, they part as soon as DVC takes a result from its cache, runs an
experiment in a copy of the project, or another person pulls the files. Joined by content they do
not: an entry of dvc.lock is a computation, and its run holds what the entry names.

    params                  -> the run's params
    metrics (JSON)          -> metrics, nested keys joined by dots
    plots (PNG)             -> artifacts
    outs in metrics/ (CSV)  -> artifacts, and of a table with epochs metrics with a step for each
    outs in data/models/    -> a model that can be served, the very file inside
    deps in data/prepared/  -> datasets
    md5 of deps and outs    -> tags `dep.PATH` and `out.PATH`
    md5 of the whole entry  -> the tag `dvc.record`, set last: a run that has it is complete

So there are two ways to a run, and they meet here. A stage that computes tells of itself while it
runs (`stages.tracking.run`) and is completed at its end. An entry that has no run, because DVC took
it from its cache, because it was computed elsewhere or MLflow was away, gets one from the files
(`ensure_run`; `stages.tracking.sync` does it for every revision).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stages.data.files import file_hash, read_json
from stages.tracking import store
from stages.tracking.declared import StageRecord, flattened, workspace_records
from stages.tracking.environment import identity_tags, process_tag
from stages.tracking.receipts import Receipt, find_receipt
from stages.tracking.store import Run

RECORD = "dvc.record"
COMPUTATION = "dvc.computation"  # of a run that is not complete yet, to find it again
MISSING = "dvc.missing"
EDITED = "dvc.edited_while_running"
MODELS = Path("data/models")
FOLDERS = {".png": "figures", ".csv": "tables"}  # of a run's artifacts, by a file's suffix


@dataclass(frozen=True)
class Snapshot:
    """Results of the pipeline: those in the working directory, or those of a revision.

    Attributes:
        records: the entries of its dvc.lock, by stage.
        tags: where a computation was seen that nothing is known of but its files.
        find_file: given a path and an md5, a file with that content, or None if it is not here.
        runs: complete runs that are known already, by `StageRecord.key`.
    """

    records: Mapping[str, StageRecord]
    tags: Mapping[str, str]
    find_file: Callable[[str, str], Path | None]
    runs: Mapping[str, Run] = field(default_factory=dict)


Announce = Callable[[StageRecord, Snapshot], None]


def workspace() -> Snapshot:
    """The results in the working directory."""
    return Snapshot(workspace_records(), identity_tags(), file_in_workspace)


def file_in_workspace(path: str, md5: str) -> Path | None:
    """A file of the working directory, if it has this content."""
    file = Path(path)
    return file if file.is_file() and file_hash(file, "md5") == md5 else None


def start_run(
    record: StageRecord, tags: Mapping[str, str], computation: str, started: float | None = None
) -> Run:
    """Start the run of a computation, with its tags alone.

    Args:
        record: what goes in.
        tags: where it was caused or seen.
        computation: a name for it, by which its run is found again while it is not complete.
        started: seconds since 1970; now by default.
    """
    name = " ".join(filter(None, [record.stage, tags.get("dvc.exp_name")]))
    named = {
        "stage": record.stage,
        COMPUTATION: computation,
        "process": process_tag(),
        **tags,
        **{f"dep.{path}": md5 for path, md5 in record.deps.items()},
    }
    return store.create_run(name, named, started)


def ensure_run(record: StageRecord, snapshot: Snapshot) -> Run:
    """The run of a computation; it is made from the files if there is none."""
    if record.key in snapshot.runs:
        return snapshot.runs[record.key]
    known = store.find_runs({RECORD: record.key}, limit=1)
    return known[0] if known else make_run(record, snapshot)


def make_run(record: StageRecord, snapshot: Snapshot, announce: Announce | None = None) -> Run:
    """Make the run of a computation from its files, or complete one that broke off.

    What files cannot tell is taken from the receipt, if the computation took place here; without
    one the run has no duration.

    Args:
        record: the computation.
        snapshot: where its files are.
        announce: as in `complete_run`.
    """
    receipt = find_receipt(record.key)
    computation = receipt.computation if receipt else record.key
    with store.exclusive():
        known = store.find_runs({RECORD: record.key}, limit=1)  # made by another process meanwhile
        if known:
            return known[0]
        begun = store.find_runs({COMPUTATION: computation}, limit=1)
        if begun:
            run = begun[0]
        else:
            tags = {**snapshot.tags, "made_from": "files"}
            run = start_run(record, tags, computation, receipt.started if receipt else None)
        edited = receipt.edited if receipt else []
        complete_run(run, record, snapshot, edited=edited, announce=announce)
        if receipt:
            log_durations(run, receipt)
        ended = receipt.started + receipt.seconds if receipt else None
        store.end_run(run.info.run_id, "FINISHED", ended)
    return store.get_run(run.info.run_id)


def complete_run(
    run: Run,
    record: StageRecord,
    snapshot: Snapshot,
    *,
    edited: Sequence[str] = (),
    announce: Announce | None = None,
    try_model: bool = False,
) -> None:
    """Log all that a computation left behind and its run does not hold yet.

    Args:
        run: as the store has it at this moment.
        record: the computation.
        snapshot: where its files are.
        edited: deps and params that were edited while it ran.
        announce: what else is to be told of it, before the run counts as complete.
        try_model: whether MLflow is to have a model answer, which loads it.
    """
    run_id = run.info.run_id
    files = {
        path: snapshot.find_file(path, md5) for path, md5 in record.outs.items() if _is_shown(path)
    }
    here = {path: file for path, file in files.items() if file is not None}
    metrics = _metrics_of(here)
    tags = {f"out.{path}": md5 for path, md5 in record.outs.items()}
    if edited:
        tags[EDITED] = ", ".join(edited)
    store.log(
        run_id,
        params={key: record.params[key] for key in record.params.keys() - run.data.params},
        metrics={key: metrics[key] for key in metrics.keys() - run.data.metrics},
        tags=tags,
    )
    store.log_datasets(run_id, record.deps)
    store.log_artifacts(
        run_id,
        {
            f"{FOLDERS[each.suffix]}/{each.name}": each
            for each in here.values()
            if each.suffix in FOLDERS
        },
    )
    for path, file in here.items():
        if file.suffix == ".csv":
            store.log_steps(run, _epochs_of(file))
        elif Path(path).parent == MODELS and not store.logged_model(run):
            # After the metrics, which MLflow then shows on the model's page, too.
            store.log_model(run_id, file, try_it=try_model)
    _name_missing(run, sorted(files.keys() - here.keys()))
    if announce:
        announce(record, snapshot)
    store.log(run_id, tags={RECORD: record.key})


def log_durations(run: Run, receipt: Receipt) -> None:
    """Log how long a computation took, and how long of that it waited for MLflow."""
    seconds = {
        "duration_seconds": receipt.seconds,
        "tracking_seconds": receipt.tracking_seconds,
    }
    store.log(run.info.run_id, metrics=seconds)


def _is_shown(path: str) -> bool:
    """Whether the content of an output goes into the run; of others only the md5 does."""
    return Path(path).parent == MODELS or path.startswith("metrics/")


def _metrics_of(files: Mapping[str, Path]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for file in files.values():
        if file.suffix == ".json":
            metrics |= flattened(read_json(file))
    return metrics


def _epochs_of(table: Path) -> dict[int, dict[str, float]]:
    """The metrics of each epoch, from a table with a column `epoch`; of others none."""
    rows = pd.read_csv(table)
    if "epoch" not in rows:
        return {}
    steps = {}
    for row in rows.to_dict(orient="records"):
        measures = {str(name): float(value) for name, value in row.items()}
        steps[int(measures.pop("epoch"))] = measures
    return steps


def _name_missing(run: Run, paths: list[str]) -> None:
    if paths:
        store.log(run.info.run_id, tags={MISSING: ", ".join(paths)})
    elif MISSING in run.data.tags:
        store.delete_tag(run.info.run_id, MISSING)
