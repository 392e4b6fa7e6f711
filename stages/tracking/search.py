"""The search of a sweep: Optuna proposes, DVC runs, MLflow tells how far each trial is."""

import functools
import json
import sys
import time
import warnings
from contextlib import closing, suppress
from io import BytesIO
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from stages.data.errors import UserError
from stages.data.progress import Progress
from stages.tracking import store, tags
from stages.tracking.environment import own_folder, printable, project_root
from stages.tracking.run import entry_now
from stages.tracking.summary import this_clone
from stages.workflow.pipeline import LockEntry, flattened, md5_of_json
from stages.workflow.revisions import find_revision, workspace
from stages.workflow.runners import Runner
from stages.workflow.staleness import stale_stages
from stages.workflow.sweeps import Sweep, Tried, value_of
from stages.workflow.trials import Trial

SECONDS = 2.0  # between two looks at the trials that run
DRAWN = 5  # trials that are drawn at random, and not pruned, before Optuna learns
TOLERATED = 3  # trials that fail one after the other, before the search gives up
DIGITS = 4  # of a number that is tried
EPOCH_MEASURE = "validation_accuracy"
DEFINITION, PARAMS, OWNER, SEARCH = "definition", "params", "clone", "sweep"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Search:
    """A search that can be interrupted at any moment: what has happened is in the study."""

    def __init__(self, sweep: Sweep, storage: str) -> None:
        """Open the study, or begin one.

        Args:
            sweep: what is to be tried.
            storage: a database of Optuna's, as SQLAlchemy names it; empty for sweeps.db.

        Raises:
            UserError: the stage lacks what it reads, the database fails, or it has a study of that
                name of something else.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._sweep = sweep
        self._ranges = distributions(sweep)
        self._running: dict[str, optuna.Trial] = {}
        self._pruned: set[str] = set()
        self._told_epochs: dict[str, int] = {}
        self._failures = 0
        self._seen = self._seen_in(_entry_to_search(sweep.stage))
        try:
            self.study = optuna.create_study(
                storage=storage or f"sqlite:///{project_root() / 'sweeps.db'}",
                study_name=sweep.name,
                direction="maximize",
                load_if_exists=True,
                **strategy(sweep.seed),
            )
        except Exception as error:  # of Optuna, SQLAlchemy or a driver
            raise UserError(f"the study's database fails: {printable(error)}") from error
        self._check_definition()
        # A clone that joins, or goes on, would draw once more what was drawn with the seed alone.
        self.study.sampler = strategy(sweep.seed + len(self.study.trials))["sampler"]

    def _check_definition(self) -> None:
        """Refuse to go on with a study of other params, code or data."""
        sweep = self._sweep
        definition = sweep.model_dump(mode="json", include={"model", "goal", "params"})
        definition |= self._seen
        known = self.study.user_attrs.get(DEFINITION, definition)
        if differing := [each for each in definition if known.get(each) != definition[each]]:
            raise UserError(
                f"the study {sweep.name} was begun with other {', '.join(differing)} (reads: code "
                "and data of the stage; settings: its params that are not searched); give the "
                "sweep another name"
            )
        if not self._count(*ENDED, TrialState.RUNNING, TrialState.WAITING):
            self.study.set_user_attr(DEFINITION, definition)
            # What params.yaml has is tried first: no search ends with less.
            present = flattened(workspace().params)
            if all(tried.holds(present[key]) for key, tried in sweep.params.items()):
                self.study.enqueue_trial(
                    {key: _proposed(tried, present[key]) for key, tried in sweep.params.items()}
                )

    def _seen_in(self, entry: LockEntry) -> dict[str, str]:
        """What is the same for all trials: what the stage reads, and the params not searched."""
        others = {key: entry.params[key] for key in entry.params if key not in self._sweep.params}
        return {"reads": md5_of_json(entry.deps), "settings": md5_of_json(others)}

    def run(self, runner: Runner) -> None:
        """Try until as many trials have ended as the sweep says.

        Raises:
            UserError: another process searches here, trials fail one after the other, or the
                database or the disk fails.
        """
        try:
            with FileLock(own_folder() / f"sweep-{self._sweep.name}.lock", timeout=0):
                self._run(runner)
        except Timeout:
            raise UserError(f"the sweep {self._sweep.name} runs in this folder already") from None
        except (OptunaError, SQLAlchemyError, OSError) as error:
            raise UserError(
                f"the search was broken off ({printable(error)}); the same command goes on"
            ) from error
        if others := self._count(TrialState.RUNNING):
            print(f"{others} trials run in other clones, or were left by one that is gone")
        self._show()

    def _run(self, runner: Runner) -> None:
        left_over = [
            optuna.Trial(self.study, each._trial_id)  # noqa: SLF001  # the only way
            for each in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if each.user_attrs.get(OWNER, _owner()) == _owner()
        ]
        with closing(Progress("sweep", self._sweep.trials, "trials")) as progress:
            progress.update(self._count(*ENDED))
            while self._running or left_over or self._remaining():
                while len(self._running) < runner.width and (left_over or self._remaining()):
                    self._start(left_over.pop(0) if left_over else self.study.ask(), runner)
                time.sleep(SECONDS)
                progress.update(0)
                for name in [*self._running]:
                    failed = runner.ended(name)
                    if failed is None:
                        self._follow(name, runner)
                    else:
                        progress.clear()
                        before = self._count(*ENDED)
                        self._tell(name, failed)
                        progress.update(self._count(*ENDED) - before)

    def _count(self, *states: TrialState) -> int:
        return len(self.study.get_trials(deepcopy=False, states=states))

    def _remaining(self) -> bool:
        """Whether more are to be begun than have ended, or run here or in other clones."""
        return self._count(*ENDED, TrialState.RUNNING) < self._sweep.trials

    def _start(self, trial: optuna.Trial, runner: Runner) -> None:
        name = f"{self._sweep.name}-{trial.number}"
        trial.set_user_attr(OWNER, _owner())  # first: nobody else takes it for one left over
        for key, values in self._ranges.items():
            trial._suggest(key, values)  # noqa: SLF001  # as `ask` does; what was drawn stays
        if PARAMS not in trial.user_attrs:
            trial.set_user_attr(PARAMS, {key: _text(value) for key, value in trial.params.items()})
        self._running[name] = trial
        params = [f"{key}={text}" for key, text in trial.user_attrs[PARAMS].items()]
        runner.start(Trial(name, params, self._sweep.stage))

    def _follow(self, name: str, runner: Runner) -> None:
        """Report the epochs that a trial has told MLflow, and end it if it promises nothing."""
        trial, last = self._running[name], self._told_epochs.get(name, 0)
        try:
            with store.speaking_to_mlflow():
                found = store.find_runs({tags.EXPERIMENT: name, tags.STAGE: self._sweep.stage}, 1)
                # One that does not run is of an earlier search, or of another's.
                if not found or found[0].info.status != "RUNNING":
                    return
                history = store.client().get_metric_history(found[0].info.run_id, EPOCH_MEASURE)
        except UserError as error:
            _warn(f"trials are not ended early, as their epochs are not known ({error})")
            return
        for each in sorted(history, key=lambda metric: metric.step):
            if each.step > last:
                trial.report(each.value, each.step)
                self._told_epochs[name] = each.step
        if self._sweep.prune and name not in self._pruned and trial.should_prune():
            self._pruned.add(name)
            runner.stop(name)

    def _tell(self, name: str, failed: str) -> None:
        """Tell the study and the terminal how a trial ended."""
        trial = self._running.pop(name)
        settings = "  ".join(
            f"{key.rpartition('.')[2]}={text}" for key, text in trial.user_attrs[PARAMS].items()
        )
        has_failed = bool(failed) and name not in self._pruned
        self._failures = self._failures + 1 if has_failed else 0
        if has_failed:
            self.study.tell(trial, state=TrialState.FAIL)
            outcome = f"FAILED: {failed}"
        elif failed:
            epoch = self._told_epochs.get(name, 0)
            self.study.tell(trial, state=TrialState.PRUNED)
            outcome = f"pruned after epoch {epoch}"
        else:
            value = self._measured(name, trial)
            self.study.tell(trial, value)
            is_best = self.study.best_trial.number == trial.number
            outcome = f"{self._sweep.goal} {value:.4f}{', the best so far' if is_best else ''}"
        print(f"{name}: {outcome}  ({settings})", flush=True)
        if self._failures == TOLERATED:
            raise UserError(
                f"{TOLERATED} trials failed one after the other; the last: {failed}; when that is "
                "mended, the same command goes on"
            )

    def _measured(self, name: str, trial: optuna.Trial) -> float:
        """The goal as the experiment of a trial has it.

        Raises:
            UserError: it is of another search that had this name.
        """
        revision, stage = find_revision(name), self._sweep.stage
        tried = {key: value_of(text) for key, text in trial.user_attrs[PARAMS].items()}
        is_it = tried.items() <= flattened(revision.params).items()
        if not is_it or self._seen_in(revision.lock[stage]) != self._seen:
            raise UserError(
                f"the experiment {name} is of another search (other params, code or data); remove "
                f"those with `dvc exp remove`, or give the sweep another name"
            )
        return self._sweep.measure(revision.numbers(f"metrics/{stage}.json"))

    def best(self) -> FrozenTrial:
        """The best trial.

        Raises:
            UserError: none has ended yet.
        """
        if not self._count(TrialState.COMPLETE):
            raise UserError(f"no trial of the study {self._sweep.name} has ended yet; run `sweep`")
        return self.study.best_trial

    def _show(self) -> None:
        """Log the study's pictures to a run of its own in MLflow."""
        from optuna.visualization import matplotlib as drawn

        pictures = {}
        for name, draw in (
            ("history", drawn.plot_optimization_history),
            ("importance", drawn.plot_param_importances),
            ("parallel_coordinate", drawn.plot_parallel_coordinate),
        ):
            with (
                suppress(ValueError, RuntimeError),  # too few trials, or all alike
                warnings.catch_warnings(action="ignore"),
            ):
                file = BytesIO()
                draw(self.study).figure.savefig(file, format="png", bbox_inches="tight")
                pictures[f"figures/{name}.png"] = file.getvalue()
        title, mark = f"sweep {self._sweep.name}", {SEARCH: self._sweep.name}
        try:
            best = self.best()
            with store.speaking_to_mlflow():
                found = store.find_runs(mark, 1)
                run = found[0] if found else store.start_run(title, "sweep", mark, time.time())
                run_id = run.info.run_id
                store.log(
                    run_id,
                    metrics={self._sweep.goal: best.value, "best_trial": best.number},
                    step=len(self.study.trials),
                    tags={"best": json.dumps(best.user_attrs[PARAMS])},
                )
                store.log_artifacts(run_id, pictures)
                store.client().set_terminated(run_id, "FINISHED")
        except UserError as error:
            _warn(f"the pictures are not in MLflow ({error})")


@functools.cache
def _warn(what: str) -> None:
    """Tell it once: trials are looked at every few seconds."""
    print(f"WARNING: {what}", file=sys.stderr)


def _owner() -> str:
    """The number of this clone; its machine may get another name, as containers do."""
    return this_clone().rpartition(" ")[2]


def _entry_to_search(stage: str) -> LockEntry:
    """What the stage reads, as all trials are to have it.

    Raises:
        UserError: data are missing or out of date, so that trials would make them first.
    """
    revision = workspace()
    entry, declared = entry_now(stage), revision.pipeline.stages
    before = [name for name, each in declared.items() if set(each.outs) & set(declared[stage].deps)]
    made = [revision.lock[name].outs for name in before if name in revision.lock]
    differing = any(
        entry.deps.get(path) != outs[path]
        for outs in made
        for path in outs.keys() & declared[stage].deps
    )
    stale = {each.stage for each in stale_stages(revision) if each.needs_run}
    if stale & set(before) or differing:
        raise UserError(
            f"what {stage} reads is missing or out of date; `dvc repro {' '.join(before)}` or "
            "`dvc pull` first"
        )
    return entry


def strategy(seed: int) -> dict[str, Any]:
    """How a study proposes, and which trials it ends; arguments of `optuna.create_study`."""
    return {
        "sampler": optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=DRAWN, multivariate=True, constant_liar=True
        ),
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=DRAWN, n_warmup_steps=2),
    }


def distributions(sweep: Sweep) -> dict[str, BaseDistribution]:
    """From which values a study proposes, by key of params.yaml; a choice is written as JSON."""
    return {key: _distribution(tried) for key, tried in sweep.params.items()}


def _distribution(tried: Tried) -> BaseDistribution:
    if tried.choices is not None:
        return CategoricalDistribution([json.dumps(each) for each in tried.choices])
    if isinstance(tried.low, int) and isinstance(tried.high, int):
        return IntDistribution(tried.low, tried.high, tried.log, int(tried.step or 1))
    return FloatDistribution(tried.low, tried.high, tried.log, tried.step)


def _proposed(tried: Tried, value: Any) -> Any:
    """A value as its distribution has it; 0.0 in params.yaml may be the choice 0."""
    choices = tried.choices
    return value if choices is None else json.dumps(choices[choices.index(value)])


def _text(value: Any) -> str:
    """A value as params.yaml is to have it; a choice is JSON already."""
    if isinstance(value, float):
        return np.format_float_positional(float(f"{value:.{DIGITS}g}"), trim="0")
    return str(value)
