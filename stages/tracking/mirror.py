"""MLflow mirrors DVC: each computation of a stage is a run, found again by the md5 of its files.

The problem: DVC knows what a result was made from, MLflow shows and compares, and neither knows of
the other. Joined by a run id, they part as soon as DVC takes a result from its cache, runs an
experiment in a copy of the project, or another person pulls the files. Joined by content they do
not: an entry of dvc.lock is a computation, and its run holds what the entry names.

    params                  -> the run's params
    outs that are JSON      -> metrics, nested keys joined by dots
    outs that are PNG       -> artifacts
    outs that are CSV       -> artifacts, and of a table with epochs metrics with a step for each
    outs that are models    -> a model that can be served, the very file inside
    deps that are datasets  -> datasets
    md5 of deps and outs    -> tags `dep.PATH` and `out.PATH`
    md5 of the whole entry  -> the tag `dvc.record`, set last: a run that has it is complete

So there are two ways to a run, and they meet here. A stage that computes tells of itself while it
runs (`stages.tracking.run`) and is completed at its end. An entry that has no run, because DVC took
it from its cache, because it was computed elsewhere or MLflow was away, gets one from the files
(`make_run`; `stages.tracking.sync` does it for every revision).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from stages.data.files import read_json
from stages.data.splits import SPLIT_NAMES, split_path
from stages.tracking import store, tags
from stages.tracking.outputs import files_of
from stages.tracking.receipts import Receipt, find_receipt
from stages.tracking.served_model import is_model, log_model
from stages.tracking.store import Run
from stages.workflow.pipeline import LockEntry, flattened
from stages.workflow.revisions import Revision

FOLDERS = {".png": "figures", ".csv": "tables"}  # of a run's artifacts, by a file's suffix
SHOWN = (".json", *FOLDERS)
DATASETS = {str(split_path(name)): name for name in SPLIT_NAMES}


def start_run(
    entry: LockEntry, seen: Mapping[str, str], computation: str, started: float | None
) -> Run:
    """Start the run of a computation, with its tags alone.

    Args:
        entry: what goes in.
        seen: tags that say where it was caused or seen.
        computation: a name for it, by which its run is found again while it is not complete.
        started: seconds since 1970; None if that is not known.
    """
    named = {
        tags.STAGE: entry.stage,
        tags.COMPUTATION: computation,
        tags.PROCESS: tags.this_process(),
        **{f"{tags.DEP}{path}": md5 for path, md5 in entry.deps.items()},
        **seen,
    }
    name = " ".join(filter(None, [entry.stage, seen.get(tags.EXPERIMENT)]))
    return store.create_run(name, named, started)


def make_run(entry: LockEntry, revision: Revision) -> Run:
    """The run of a computation; one that is missing, or broke off, is made complete from files.

    What files cannot tell is taken from the receipt, if the computation took place here; without
    one the run has no duration.
    """
    receipt = find_receipt(entry.key)
    computation, started = (receipt.computation, receipt.started) if receipt else (entry.key, None)
    with store.exclusive():  # another process may have made it meanwhile
        if known := store.find_runs({tags.ENTRY: entry.key}, limit=1):
            return known[0]
        begun = store.find_runs({tags.COMPUTATION: computation}, limit=1)
        seen = {**tags.of_revision(revision), tags.MADE_FROM: "files"}
        run = begun[0] if begun else start_run(entry, seen, computation, started)
        complete_run(run, entry, revision, edited=receipt.edited if receipt else ())
        seal(run.info.run_id, entry, receipt)
        ended = receipt.started + receipt.seconds if receipt else None
        store.end_run(run.info.run_id, "FINISHED", ended)
    return store.client().get_run(run.info.run_id)


def complete_run(
    run: Run,
    entry: LockEntry,
    revision: Revision,
    *,
    edited: Sequence[str] = (),
    try_model: bool = False,
) -> None:
    """Log all that a computation left behind and its run does not hold yet.

    Args:
        run: as the store has it at this moment.
        entry: the computation.
        revision: where its files are.
        edited: deps and params that were edited while it ran.
        try_model: whether MLflow is to have a model predict, which loads it.
    """
    run_id = run.info.run_id
    found = {path: files_of(revision, path, md5) for path, md5 in shown_outs(entry).items()}
    files = {path: file for each in found.values() if each for path, file in each.items()}
    metrics = metrics_in(files)
    store.log(
        run_id,
        params={key: entry.params[key] for key in entry.params.keys() - run.data.params},
        metrics={key: metrics[key] for key in metrics.keys() - run.data.metrics},
        tags={f"{tags.OUT}{path}": md5 for path, md5 in entry.outs.items()}
        | ({tags.EDITED: ", ".join(edited)} if edited else {}),
    )
    read = {path: (entry.deps[path], DATASETS[path]) for path in DATASETS.keys() & entry.deps}
    store.log_datasets(run_id, read)
    store.log_artifacts(run_id, artifacts_in(files))
    for path, file in files.items():
        if file.suffix == ".csv":
            store.log_steps(run, _epochs_of(file))
        elif is_model(path) and not logged_model(run):
            # After the metrics, which MLflow then shows on the model's page, too.
            log_model(run_id, file, try_it=try_model)
    if missing := sorted(path for path, here in found.items() if not here):
        store.log(run_id, tags={tags.MISSING: ", ".join(missing)})
    elif tags.MISSING in run.data.tags:
        store.client().delete_tag(run_id, tags.MISSING)


def seal(run_id: str, entry: LockEntry, receipt: Receipt | None) -> None:
    """Mark a run as complete, and tell how long the computation took, if that is known."""
    seconds = {}
    if receipt:
        seconds["duration_seconds"] = receipt.seconds
        seconds["tracking_seconds"] = receipt.tracking_seconds
    store.log(run_id, metrics=seconds, tags={tags.ENTRY: entry.key})


def logged_model(run: Run) -> str | None:
    """Id of the model that was logged with a run; None if there is none."""
    outputs = run.outputs.model_outputs if run.outputs else []
    return outputs[0].model_id if outputs else None


def shown_outs(entry: LockEntry) -> dict[str, str]:
    """Outputs whose content goes into the run; of others, as of images, only the md5 does."""
    return {
        path: md5
        for path, md5 in entry.outs.items()
        if md5.endswith(".dir") or Path(path).suffix in SHOWN or is_model(path)
    }


def missing_outs(run: Run) -> list[str]:
    """Outputs that a run should show and does not."""
    return [path for path in run.data.tags.get(tags.MISSING, "").split(", ") if path]


def metrics_in(files: Mapping[str, Path]) -> dict[str, float]:
    """Numbers of the JSON files, nested keys joined by dots."""
    measured = [read_json(file) for file in files.values() if file.suffix == ".json"]
    numbers = {key: value for each in measured for key, value in flattened(each).items()}
    return {key: value for key, value in numbers.items() if isinstance(value, int | float)}


def artifacts_in(files: Mapping[str, Path]) -> dict[str, Path]:
    """Pictures and tables, by their path among a run's artifacts."""
    return {
        f"{FOLDERS[file.suffix]}/{file.name}": file
        for file in files.values()
        if file.suffix in FOLDERS
    }


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
