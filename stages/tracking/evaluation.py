"""What an evaluation says of models is told to the runs that made them, and to the model registry.

So a model's run has its test metrics beside those of training and validation, and the table of runs
is complete, however the files came to be there.
"""

from pathlib import Path

import pandas as pd

from stages.data.files import read_json
from stages.tracking import champion, store
from stages.tracking.declared import StageRecord, flattened
from stages.tracking.mirror import MODELS, Snapshot, ensure_run
from stages.tracking.store import Run

METRICS = "metrics/evaluate.json"
PREDICTIONS = "metrics/predictions.csv"


def spread_evaluation(record: StageRecord, snapshot: Snapshot) -> None:
    """Add `test.*` to the run that made each model, and register the best model.

    Args:
        record: an evaluation.
        snapshot: where its files, and the records of the models, are.
    """
    metrics_file, predictions = (
        snapshot.find_file(path, record.outs.get(path, "")) for path in (METRICS, PREDICTIONS)
    )
    if metrics_file is None:
        return
    measured = read_json(metrics_file)
    runs = {}
    for path, md5 in record.deps.items():
        if Path(path).parent == MODELS:
            run = run_that_made(path, md5, snapshot)
            metrics = flattened({"test": measured[Path(path).stem]})
            # Another evaluation may have been there, of other test images.
            changed = {k: v for k, v in metrics.items() if run.data.metrics.get(k) != v}
            if changed:
                store.log(run.info.run_id, metrics=changed, model_id=store.logged_model(run))
                run.data.metrics.update(changed)  # the copy in hand stays true
            runs[path] = run
    if predictions is not None:
        with store.exclusive():
            champion.propose(record, runs, measured, pd.read_csv(predictions))


def run_that_made(path: str, md5: str, snapshot: Snapshot) -> Run:
    """The run whose stage wrote a file with this content; made from files if there is none."""
    makers = [each for each in snapshot.records.values() if path in each.outs]
    for maker in makers:
        if maker.outs[path] == md5:
            return ensure_run(maker, snapshot)
    known = store.find_runs({f"out.{path}": md5}, limit=1)
    if known:
        return known[0]
    # No entry and no run tells how the file was made: a run that holds the file alone.
    stage = makers[0].stage if makers else "unknown"
    orphan = StageRecord(stage, params={}, deps={}, outs={path: md5})
    return ensure_run(orphan, snapshot)
