"""A stage tells of itself while it runs: to its terminal, its log file and its run in MLflow.

One line does it: `with track_stage("train_cnn") as tracker:`. Tracking never costs a result: what
fails here is told in one warning, MLflow is left alone for a while and tried again, at the latest
when the stage ends; and what is missing even then is filled in by `make sync` (see
`stages.tracking.mirror`).
"""

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

from stages.data.errors import UserError
from stages.tracking import mirror, store
from stages.tracking.declared import StageRecord, differences, record_now, with_outputs
from stages.tracking.environment import identity_tags, logs_path, printable, shown_uri
from stages.tracking.receipts import Receipt, write_receipt

FIRST_PAUSE = 60.0  # seconds in which MLflow is left alone after it failed; doubled each time


class StageTracker:
    """What a stage tells about itself while it runs."""

    def __init__(self, stage: str, announce: mirror.Announce | None) -> None:
        """Note what the stage reads, start the log file."""
        self.stage = stage
        self._announce = announce
        self._record = record_now(stage)
        self._computation = uuid.uuid4().hex
        self._started = time.time()
        self._run_id = ""
        self._tracked_since: float | None = None
        self._tracking_seconds = 0.0
        self._has_warned = False
        self._pause = FIRST_PAUSE
        self._resting_until = 0.0
        self._log = logs_path() / f"{stage}.log"
        self._logs_work = True
        with self._logs_may_fail():
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
        if self._run_id:
            self._attempt(lambda: store.log(self._run_id, metrics=measures, step=epoch))

    def log_line(self, line: str) -> None:
        """Write a line to the log file and the terminal, with the seconds since the start."""
        line = f"{self._seconds():6.1f} s  {line}"
        print(f"{self.stage}: {line}", flush=True)
        with self._logs_may_fail(), self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def begin(self) -> None:
        """Start the run."""
        self._attempt(self._start_run)

    def finish(self) -> None:
        """Complete the run with what the stage has written."""
        finished = with_outputs(self._record)
        edited = differences(self._record, finished)
        if edited:
            self._warn(
                f"edited while it ran: {', '.join(edited)}; DVC records them as they are now; "
                f"run `dvc repro --force {self.stage}` for a result that belongs to them"
            )
        self._write_receipt(finished, edited)
        self._resting_until = 0.0
        self._attempt(lambda: self._complete_run(finished, edited))
        self._write_receipt(finished, edited)  # with the time that this took
        self.log_line("finished")

    def fail(self, status: str) -> None:
        """End the run of a stage that did not finish, as FAILED or KILLED."""
        if self._run_id:
            self._attempt(lambda: store.end_live_run(self._run_id, status))

    def _start_run(self) -> None:
        run = mirror.start_run(self._record, identity_tags(), self._computation, self._started)
        self._run_id = run.info.run_id
        store.log(self._run_id, params=self._record.params)
        store.watch_system(self._run_id)

    def _complete_run(self, finished: StageRecord, edited: list[str]) -> None:
        if not self._run_id:  # MLflow was away when the stage began
            self._start_run()
        run = store.get_run(self._run_id)
        mirror.complete_run(
            run,
            finished,
            mirror.workspace(),
            edited=edited,
            announce=self._announce,
            try_model=True,
        )
        mirror.log_durations(run, self._receipt(finished, edited))
        store.end_live_run(self._run_id, "FINISHED")

    def _receipt(self, finished: StageRecord, edited: list[str]) -> Receipt:
        return Receipt(
            record=finished.key,
            computation=self._computation,
            stage=self.stage,
            started=self._started,
            seconds=round(self._seconds(), 1),
            tracking_seconds=round(self._seconds_in_mlflow(), 2),
            edited=edited,
            outs=finished.outs,
        )

    def _write_receipt(self, finished: StageRecord, edited: list[str]) -> None:
        with self._logs_may_fail():
            write_receipt(self._receipt(finished, edited))

    def _seconds(self) -> float:
        return time.time() - self._started

    def _seconds_in_mlflow(self) -> float:
        since = self._tracked_since
        return self._tracking_seconds + (time.time() - since if since else 0.0)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Call `action`, unless MLflow failed a moment ago; if it fails, the stage goes on."""
        if time.time() < self._resting_until:
            return
        self._tracked_since = time.time()
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever breaks in tracking, the stage goes on
            self._resting_until = time.time() + self._pause
            self._pause *= 2
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"MLflow failed at {shown_uri()} ({printable(error)}); the "
                    "results are not affected; what its run lacks when the stage has finished, "
                    "`make sync` fills in once MLflow is there again"
                )
        finally:
            self._tracking_seconds = self._seconds_in_mlflow()
            self._tracked_since = None

    @contextlib.contextmanager
    def _logs_may_fail(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UserError) as error:
            if self._logs_work:
                self._warn(f"{self._log.parent} cannot be written ({error}); results go on")
            self._logs_work = False

    def _warn(self, what: str) -> None:
        print(f"WARNING: {self.stage}: {what}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def track_stage(stage: str, announce: mirror.Announce | None = None) -> Iterator[StageTracker]:
    """Track the block as a computation of a stage.

    Args:
        stage: its name in dvc.yaml.
        announce: what else MLflow is to be told when the stage has finished.
    """
    tracker = StageTracker(stage, announce)
    tracker.begin()
    try:
        yield tracker
        tracker.finish()
    except KeyboardInterrupt:
        tracker.fail("KILLED")
        raise
    except BaseException:
        tracker.fail("FAILED")
        raise
