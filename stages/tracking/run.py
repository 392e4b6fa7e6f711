"""MLflow mirrors DVC: each computation of a stage is a run, found again by the md5 of its files.

The problem: DVC knows what a result was made from, MLflow shows and compares, and neither knows of
the other. Joined by a run id, they part as soon as DVC takes a result from its cache, runs an
experiment in a copy of the project, or another person pulls the files. Joined by content they do
not: what `dvc.yaml` declares of a stage is what its run holds.

    params                  -> the run's params
    metrics (JSON)          -> metrics, nested keys joined by dots
    plots (CSV with epochs) -> metrics with a step for each epoch, and the table
    plots (PNG)             -> artifacts
    outs in data/models/    -> a model that can be served, the very file inside
    deps in data/prepared/  -> datasets
    md5 of deps and outs    -> tags `dep.PATH` and `out.PATH`

A stage needs one line for all of it: `with track_stage("train_cnn") as tracker:`. Tracking never
costs a result: what fails here is told in one warning, and the stage goes on.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.tracking import store
from stages.tracking.declared import (
    StageRecord,
    declared_paths,
    flattened,
    record_from_lock,
    record_now,
    stage_that_writes,
    with_outputs,
)
from stages.tracking.environment import logs_path
from stages.workflow.files import file_hash, read_json, replacing


class StageTracker:
    """What a stage tells about itself while it runs."""

    def __init__(self, stage: str) -> None:
        """Start the log file."""
        self.stage = stage
        self._run_id = ""
        self._broken = False
        self._started = time.perf_counter()
        self._log = logs_path() / f"{stage}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_text("", encoding="utf-8")

    def log_epoch(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Report an epoch: a line in the log file and on the terminal, metrics in the run.

        Args:
            epoch: its number, from 1.
            measures: by name, as `train_loss`.
        """
        values = "  ".join(f"{name} {value:.4f}" for name, value in measures.items())
        self.log_line(f"epoch {epoch:3d}  {values}")
        self._attempt(lambda run_id: store.log_epoch(run_id, epoch, measures))

    def log_line(self, line: str) -> None:
        """Write a line to the log file and the terminal, with the seconds since the start."""
        line = f"{self._seconds():6.1f} s  {line}"
        print(f"{self.stage}: {line}", flush=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def add_test_metrics(self, model: Path, metrics: Mapping[str, float]) -> None:
        """Add `test.*` metrics to the run that made a model, wherever and whenever that was.

        If there is no such run (a fresh clone, another server, a cached stage), it is made from
        the files.

        Args:
            model: the model's file.
            metrics: by name, as `accuracy`.
        """
        named = {f"test.{name}": value for name, value in metrics.items()}
        self._attempt(lambda _: store.log_metrics(run_that_made(model), named))

    def begin(self, record: StageRecord) -> None:
        """Start the run."""

        def start(_: str) -> None:
            self._run_id = store.start_run(record)

        self._attempt(start)

    def finish(self, record: StageRecord) -> None:
        """Complete the run with what the stage has written."""
        seconds = self._seconds()
        self.log_line("finished")
        with replacing(self._log.with_suffix(".json")) as unfinished:
            content = {"seconds": round(seconds, 1), "outs": record.outs}
            unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

        def complete(run_id: str) -> None:
            store.log_metrics(run_id, {"duration_seconds": seconds})
            log_files(run_id, record, epochs_too=False)
            store.end_run(run_id, "FINISHED")

        self._attempt(complete)

    def fail(self, status: str) -> None:
        """End the run of a stage that did not finish."""
        self._attempt(lambda run_id: store.end_run(run_id, status))

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _attempt(self, action: Callable[[str], None]) -> None:
        """Call `action` with the run's id; at the first failure warn, and track no more."""
        if self._broken:
            return
        try:
            action(self._run_id)
        except Exception as error:  # noqa: BLE001  # whatever breaks in tracking, the stage goes on
            self._broken = True
            what = " ".join(str(error).split())[:300]
            print(
                f"WARNING: {self.stage}: not tracked from here on: {type(error).__name__}: {what}; "
                "the results are not affected",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def track_stage(stage: str) -> Iterator[StageTracker]:
    """Track the block as a computation of a stage.

    Args:
        stage: its name in dvc.yaml.
    """
    tracker = StageTracker(stage)
    record = record_now(stage)
    tracker.begin(record)
    try:
        yield tracker
    except KeyboardInterrupt:
        tracker.fail("KILLED")
        raise
    except BaseException:
        tracker.fail("FAILED")
        raise
    tracker.finish(with_outputs(record))


def run_that_made(path: Path) -> str:
    """Id of the run whose stage wrote a file with these bytes; made from files if there is none."""
    md5 = file_hash(path, "md5")
    known = store.find_run(str(path), md5)
    if known:
        return known
    stage = stage_that_writes(str(path))
    record = record_from_lock(stage)
    if record is None or record.outs.get(str(path)) != md5:
        # The file is not the one that DVC recorded: its settings can't be known.
        record = StageRecord(stage, params={}, deps={}, outs={str(path): md5})
    run_id = store.start_run(record)
    log_files(run_id, record, epochs_too=True)
    store.end_run(run_id, "FINISHED")
    return run_id


def log_files(run_id: str, record: StageRecord, *, epochs_too: bool) -> None:
    """Log what a stage has written.

    Args:
        run_id: the stage's run.
        record: with the md5 of its outputs; an output that it does not name is left out.
        epochs_too: whether the metrics of each epoch are still to be logged.
    """
    store.log_tags(run_id, {f"out.{path}": md5 for path, md5 in record.outs.items()})
    written = [Path(path) for path in record.outs if Path(path).exists()]
    metrics = declared_paths(record.stage, "metrics")
    for path in written:
        if str(path) in metrics:
            store.log_metrics(run_id, flattened(read_json(path)))
        elif path.parent == Path("data/models"):
            store.log_model(run_id, path)
        elif path.suffix == ".png":
            store.log_artifact(run_id, path, "figures")
        elif path.suffix == ".csv":
            store.log_artifact(run_id, path, "tables")
            if epochs_too:
                store.log_epochs_of_table(run_id, path)
    store.log_datasets(run_id, record.deps)
