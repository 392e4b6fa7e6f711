"""MLflow mirrors DVC: each computation of a stage is a run, found again by the md5 of its files.

The problem: DVC knows what a result was made from, MLflow shows and compares, and neither knows of
the other. Joined by a run id, they part as soon as DVC takes a result from its cache, runs an
experiment in a copy of the project, or another person pulls the files. Joined by content they do
not: an entry of dvc.lock is a computation, and its run holds what the entry names.

    params                  -> the run's params
    metrics, plots, and outs that Git keeps:
      JSON, YAML, TOML      -> metrics, nested keys joined by dots
      pictures              -> artifacts
      tables                -> artifacts, and of one with epochs metrics with a step for each
    artifacts of type model -> a model, the very files inside
    deps that are data      -> datasets
    md5 of data and outs    -> tags `dep.PATH` and `out.PATH`
    md5 of the code         -> one tag `code`, and the list of its files as an artifact
    the command             -> the run's source
    md5 of the whole entry  -> the tag `dvc.record`, set last: a run that has it is complete

What is which says the dvc.yaml of the revision, whatever the project.

So there are two ways to a run, and they meet here. A stage that computes tells of itself while it
runs (`stages.tracking.run`) and is completed at its end. An entry that has no run, because DVC took
it from its cache, because it was computed elsewhere or MLflow was away, gets one from the files
(`make_run`; `stages.tracking.sync` does it for every revision).
"""

import json
import time
from collections.abc import Mapping, Sequence

from stages.tracking import model_logging, notes, store, tags
from stages.tracking.receipts import Receipt, find_receipts
from stages.tracking.shown import artifacts_in, metrics_in, series_in, shown_files, warn_once
from stages.tracking.store import Run
from stages.workflow.pipeline import LockEntry, is_code, md5_of_json
from stages.workflow.revisions import Revision


def start_run(entry: LockEntry, seen: Mapping[str, str], computation: str, started: float) -> Run:
    """Start the run of a computation, with its tags alone.

    Args:
        entry: what goes in.
        seen: tags that say where it was caused or seen.
        computation: a name for it, by which its run is found again while it is not complete.
        started: seconds since 1970.
    """
    command = entry.command or ""
    named = {
        tags.STAGE: entry.stage,
        tags.COMPUTATION: computation,
        tags.CODE: md5_of_json(entry.code),
        **{f"{tags.DEP}{path}": md5 for path, md5 in entry.data.items()},
        **seen,
    }
    name = " ".join(filter(None, [entry.stage, seen.get(tags.EXPERIMENT)]))
    source = command if isinstance(command, str) else " && ".join(command)
    return store.start_run(name, source, named, started)


def make_run(entry: LockEntry, revision: Revision) -> Run:
    """The run of a computation; one that is missing, or broke off, is made complete from files.

    One that a person deleted stays so, and is returned as it is.

    What files cannot tell is taken from the receipt, if the computation took place here; without
    one the run has no duration and no end.
    """
    receipt = next(iter(find_receipts(entry.key)), None)
    computation = receipt.computation if receipt else entry.key
    with store.exclusive():  # another process may have made it meanwhile
        if known := store.find_runs({tags.ENTRY: entry.key}, with_deleted=True):
            return known[0]
        begun = store.find_runs({tags.COMPUTATION: computation}, limit=1)
        seen = {**tags.of_revision(revision), tags.MADE_FROM: "files"}
        started = receipt.started if receipt else time.time()
        run = begun[0] if begun else start_run(entry, seen, computation, started)
        run_id = run.info.run_id
        complete_run(run, entry, revision, edited=receipt.edited if receipt else ())
        seal(run_id, entry, receipt)
        if receipt:
            ended = store.milliseconds(receipt.started + receipt.seconds)
            store.client().set_terminated(run_id, "FINISHED", ended)
        else:
            store.client().update_run(run_id, "FINISHED")
    return store.client().get_run(run_id)


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
    files, models, missing = shown_files(entry, revision)
    metrics = {store.key(name): value for name, value in metrics_in(files).items()}
    series = {store.key(name): values for name, values in series_in(files).items()}
    for name in metrics.keys() & series.keys():  # told as the last step, or something else
        metrics[f"reported.{name}"] = metrics.pop(name)
    params = {store.key(name): value for name, value in entry.params.items()}
    new = {name: value for name, value in metrics.items() if name not in run.data.metrics}
    store.log(
        run_id,
        params={name: params[name] for name in params.keys() - run.data.params},
        metrics=notes.sorted_metrics(new),
        tags={f"{tags.OUT}{path}": md5 for path, md5 in entry.outs.items()}
        | {tags.NOTE: notes.of_run(run.data.tags, {**run.data.metrics, **metrics})}
        | ({tags.EDITED: ", ".join(edited)} if edited else {}),
    )
    store.log_series(run, series)
    store.log_datasets(run_id, datasets_of(entry, revision))
    code = json.dumps(entry.code, indent=2).encode()
    store.log_artifacts(run_id, artifacts_in(files) | {tags.CODE_LIST: code})
    if models and not logged_model(run):
        # After the metrics, which MLflow then shows on the model's page, too.
        for path, content in models.items():
            reason = model_logging.log_model(
                run_id, path, content, revision, entry.params, try_it=try_model
            )
            if reason:
                store.log(run_id, tags={tags.NO_MODEL: reason})
                warn_once(f"no model in MLflow: {reason} (tag {tags.NO_MODEL})")
    if missing:
        store.log(run_id, tags={tags.MISSING: "\n".join(missing)})
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


def datasets_of(entry: LockEntry, revision: Revision) -> dict[str, str]:
    """Md5 of the data that a computation read, by path: not code, models, nor what was measured."""
    return {
        path: md5
        for path, md5 in entry.data.items()
        if revision.pipeline.kind_of(path) == "outs"
        and not (md5.endswith(".dir") and any(map(is_code, revision.paths_below(path))))
    }


def missing_outs(run: Run) -> list[str]:
    """Outputs that a run should show and does not."""
    return str(run.data.tags.get(tags.MISSING, "")).splitlines()
