"""A stage tells of itself while it runs: to its terminal, its log file and its run in MLflow.

One line does it: `with track_stage("train_cnn") as tracker:`. Tracking never costs a result: what
fails here is told in one warning, MLflow is left alone for a while and tried again, at the latest
when the stage ends; and what is missing even then is filled in by `make sync` (see
`stages.tracking.mirror`). MLflow is imported where it may fail, so a stage runs without it, too.
"""

import contextlib
import importlib
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from stages.data.errors import UserError
from stages.tracking.environment import dvc_experiment, printable, project_root, shown_uri
from stages.tracking.receipts import Receipt, write_receipt
from stages.tracking.tags import of_revision
from stages.workflow.pipeline import LockEntry, changed_keys
from stages.workflow.revisions import workspace
from stages.workflow.staleness import stale_stages

Result = TypeVar("Result")
FIRST_PAUSE = 60.0  # seconds in which MLflow is left alone after it failed; doubled each time


class StageTracker:
    """What a stage tells about itself while it runs."""

    def __init__(self, stage: str) -> None:
        """Note what the stage reads, start the clock, the log file and the run."""
        self.stage = stage
        self._computation = uuid.uuid4().hex
        self._run_id = ""
        self._warned: set[str] = set()
        self._pause = FIRST_PAUSE
        self._resting_until = 0.0
        self._seconds_in_mlflow = 0.0
        self._began = began = self._attempt(lambda: entry_now(stage))
        self._attempt(lambda: importlib.import_module("stages.tracking.car_or_truck"))
        self._started, self._seconds_in_mlflow = time.time(), 0.0  # that was not the stage's time
        # Experiments may run side by side: a folder for each.
        self._log = project_root() / "logs" / dvc_experiment()[0] / f"{stage}.log"
        with self._logs_may_fail():
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._log.write_text("", encoding="utf-8")
        if began:
            self._attempt(lambda: self._start_run(began))

    def log_epoch(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Report an epoch: a line in the log file and on the terminal, metrics in the run.

        Args:
            epoch: its number, from 1.
            measures: by name, as `train_loss`.
        """
        values = "  ".join(f"{name} {value:.4f}" for name, value in measures.items())
        self.log_line(f"epoch {epoch:3d}  {values}")
        if self._run_id:  # so MLflow could be imported
            from stages.tracking import store

            self._attempt(lambda: store.log(self._run_id, metrics=measures, step=epoch))

    def log_line(self, line: str) -> None:
        """Write a line to the log file and the terminal, with the seconds since the start."""
        line = f"{time.time() - self._started:6.1f} s  {line}"
        print(f"{self.stage}: {line}", flush=True)
        with self._logs_may_fail(), self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def finish(self) -> None:
        """Complete the run with what the stage has written."""
        self._resting_until = 0.0
        ended = self._attempt(lambda: entry_now(self.stage, with_outs=True))
        if ended:
            began = self._began or ended
            edited = changed_keys(ended.deps, began.deps) + changed_keys(ended.params, began.params)
            if edited:
                self._warn(
                    f"edited while it ran: {', '.join(edited)}; DVC records them as they are now; "
                    f"run `dvc repro --force {self.stage}` for a result that belongs to them"
                )
            self._write_receipt(ended, edited)
            # After one that fails, the next are not attempted: MLflow is left alone.
            self._attempt(lambda: self._complete_run(began, ended, edited))
            receipt = self._write_receipt(ended, edited)  # with the time that this took
            # An interrupt would now make DVC run again what has finished.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._attempt(lambda: self._seal_run(ended, receipt))
            self._attempt(lambda: self._summarize(ended))
        self.log_line("finished")

    def fail(self, status: str) -> None:
        """End the run of a stage that did not finish, as FAILED or KILLED."""
        if self._run_id:
            from stages.tracking import store

            self._attempt(lambda: store.end_live_run(self._run_id, status))

    def _start_run(self, entry: LockEntry) -> None:
        from stages.tracking import mirror, store, views

        seen = of_revision(workspace())
        run = mirror.start_run(entry, seen, self._computation, self._started)
        self._run_id = run.info.run_id
        store.log(self._run_id, params=entry.params)
        store.watch_system(self._run_id)
        views.save()

    def _complete_run(self, began: LockEntry, ended: LockEntry, edited: list[str]) -> None:
        from stages.tracking import mirror, store

        if not self._run_id:  # MLflow was away when the stage began
            self._start_run(began)
        run = store.client().get_run(self._run_id)
        mirror.complete_run(run, ended, workspace(), edited=edited, try_model=True)

    def _seal_run(self, ended: LockEntry, receipt: Receipt) -> None:
        from stages.tracking import car_or_truck, mirror, store

        mirror.seal(self._run_id, ended, receipt)
        run = store.client().get_run(self._run_id)
        car_or_truck.after_entry(ended, workspace(), {ended.key: run})
        store.end_live_run(self._run_id, "FINISHED")

    def _summarize(self, ended: LockEntry) -> None:
        """Make the summary run if this was the last stage to run."""
        from stages.tracking import mirror, store, summary, tags, views

        revision = workspace()
        vars(revision)["lock"] = {**revision.lock, ended.stage: ended}  # as DVC will write it
        if any(each.needs_run for each in stale_stages(revision)):
            return
        keys = [entry.key for entry in revision.lock.values()]
        runs = {key: run for key in keys for run in store.find_runs({tags.ENTRY: key}, 1)}
        summary.complete_summary(revision, runs)
        if not dvc_experiment()[0]:
            views.save([run.info.run_id for run in runs.values() if mirror.logged_model(run)])

    def _write_receipt(self, ended: LockEntry, edited: list[str]) -> Receipt:
        receipt = Receipt(
            record=ended.key,
            computation=self._computation,
            stage=self.stage,
            started=self._started,
            seconds=round(time.time() - self._started, 1),
            tracking_seconds=round(self._seconds_in_mlflow, 2),
            edited=edited,
            outs=ended.outs,
        )
        with self._logs_may_fail():
            write_receipt(receipt)
        return receipt

    def _attempt(self, action: Callable[[], Result]) -> Result | None:
        """What `action` gives; None if it fails, or if MLflow failed a moment ago."""
        began = time.time()
        if began < self._resting_until:
            return None
        try:
            return action()
        except Exception as error:  # noqa: BLE001  # whatever breaks in tracking, the stage goes on
            self._resting_until = time.time() + self._pause
            self._pause *= 2
            # A UserError is about DVC's files.
            is_ours = isinstance(error, UserError)
            what = "is not tracked" if is_ours else f"MLflow failed at {shown_uri()}"
            why = error if is_ours else printable(error)
            self._warn_once(
                "tracking",
                f"{what} ({why}); the results are not affected; what its run lacks "
                "when the stage has finished, `make sync` fills in once that is mended",
            )
            return None
        finally:
            self._seconds_in_mlflow += time.time() - began

    @contextlib.contextmanager
    def _logs_may_fail(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UserError) as error:
            what = f"{self._log.parent} cannot be written ({error}); results go on"
            self._warn_once("logs", what)

    def _warn_once(self, about: str, what: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            self._warn(what)

    def _warn(self, what: str) -> None:
        print(f"WARNING: {self.stage}: {what}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def track_stage(stage: str) -> Iterator[StageTracker]:
    """Track the block as a computation of a stage, by its name in dvc.yaml."""
    tracker = StageTracker(stage)
    try:
        yield tracker
        tracker.finish()
    except BaseException as error:
        tracker.fail("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def entry_now(stage: str, *, with_outs: bool = False) -> LockEntry:
    """What DVC would record of a stage, as its files are at this moment.

    DVC hashes dependencies for `dvc.lock` after the run (dvc #11058): code that is edited while the
    stage runs is not the code that ran, and the entries of beginning and end tell so.

    Raises:
        UserError: dvc.yaml or params.yaml cannot be read, or dvc.yaml has no such stage.
    """
    revision = workspace()
    declared = revision.pipeline.stage(stage)
    deps, outs = (
        {path: md5 for path in paths if (md5 := revision.md5(path))}
        for paths in (declared.deps, declared.outs if with_outs else ())
    )
    return LockEntry(stage, declared.params, deps, outs, declared.command)
