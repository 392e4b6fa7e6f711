"""What this project adds to the mirror: a model's run also holds its tests and their pictures.

`evaluate` measures models that other stages made, and `draw` draws them. Both are told to the runs
that made the models, so that a model's run has its test metrics beside those of training and
validation, however the files came to be there.
"""

from collections.abc import Mapping
from pathlib import Path

from stages.tracking import mirror, notes, store, tags
from stages.tracking.shown import artifacts_in, metrics_in, shown_files
from stages.tracking.store import Run
from stages.workflow.pipeline import LockEntry
from stages.workflow.revisions import Revision

METRICS = "metrics/evaluate.json"
PASSED_ON = "passed_on"  # tag of a run of which the models' runs have been told


def after_entry(
    entry: LockEntry, revision: Revision, runs: Mapping[str, Run], *, again: bool = False
) -> None:
    """Tell the runs that made the models what a computation measured or drew of them.

    Args:
        entry: a finished computation.
        revision: where its files, and the entries of the models, are.
        runs: runs that are known, by `LockEntry.key`; that of `entry` among them.
        again: whether to do so if it was done before, as for models that have come since.
    """
    models = _models_of(entry, revision)
    run = runs[entry.key]
    if not models or store.is_deleted(run) or (PASSED_ON in run.data.tags and not again):
        return
    files, *_ = shown_files(entry, revision)
    measured = metrics_in({path: files[path] for path in files if path == METRICS})
    for path, md5 in models.items():
        maker = _run_that_made(path, md5, revision, runs)
        if store.is_deleted(maker):
            continue
        own = {
            name: content
            for name, content in files.items()
            if Path(name).match(f"{Path(path).stem}_*.png")
        }
        store.log_artifacts(maker.info.run_id, artifacts_in(own))
        section = f"{Path(path).stem}."
        test = {k.removeprefix(section): v for k, v in measured.items() if k.startswith(section)}
        _add_test_metrics(maker, test)
    if PASSED_ON not in run.data.tags:
        store.log(run.info.run_id, tags={PASSED_ON: "true"})
        run.data.tags[PASSED_ON] = "true"  # the copy in hand stays true


def _models_of(entry: LockEntry, revision: Revision) -> dict[str, str]:
    """Md5 of the models that a computation read, itself or by what it was made from."""
    sources = [each for each in revision.lock.values() if each.outs.items() & entry.deps.items()]
    kind_of = revision.pipeline.kind_of
    direct, indirect = (
        {p: md5 for each in entries for p, md5 in each.deps.items() if kind_of(p) == "model"}
        for entries in ([entry], sources)
    )
    return direct or indirect


def _run_that_made(path: str, md5: str, revision: Revision, runs: Mapping[str, Run]) -> Run:
    """The run whose stage wrote a file with this content; made from files if there is none."""
    makers = [each for each in revision.lock.values() if path in each.outs]
    for maker in makers:
        if maker.outs[path] == md5:
            return runs.get(maker.key) or mirror.make_run(maker, revision)
    if known := store.find_runs({f"{tags.OUT}{path}": md5}, limit=1):
        return known[0]
    # No entry and no run tells how the file was made: a run that holds the file alone.
    stage = makers[0].stage if makers else "unknown"
    orphan = LockEntry(stage, params={}, deps={}, outs={path: md5})
    return mirror.make_run(orphan, revision)


def _add_test_metrics(run: Run, test: Mapping[str, float]) -> None:
    """Add to the run of a model; another evaluation may have been there, of other test images."""
    named = {store.key(f"test.{name}"): value for name, value in test.items()}
    known = run.data.metrics
    changed = {key: value for key, value in named.items() if known.get(key) != value}
    if changed := notes.sorted_metrics(changed):
        run.data.metrics.update(changed)  # the copy in hand stays true
        note = {tags.NOTE: notes.of_run(run.data.tags, run.data.metrics)}
        store.log(run.info.run_id, metrics=changed, tags=note, model_id=mirror.logged_model(run))
