"""Where the trials of a search run: here, one by one, or on the machines of a Ray cluster."""

import os
import re
import socket
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stages.data.errors import UserError
from stages.workflow import trials
from stages.workflow.revisions import git_says, workspace
from stages.workflow.trials import Origin, Trial, run_trial, stop_trial

HOST_AND_PORT = re.compile(r"([^:/]+):(\d{1,5})")
LOST_WORKERS = 5  # of one trial, before it counts as failed


class Here:
    """Runs trials in copies of the project on this machine."""

    width = 1  # how many at once

    def __init__(self) -> None:
        """Begin none."""
        self._pool = ThreadPoolExecutor(self.width)
        self._futures: dict[str, Future[str]] = {}

    def start(self, trial: Trial) -> None:
        """Begin a trial."""
        self._futures[trial.name] = self._pool.submit(run_trial, trial)

    def ended(self, name: str) -> str | None:
        """Why a trial failed; empty if it did not; None while it runs."""
        return self._futures[name].result() if self._futures[name].done() else None

    def stop(self, name: str) -> None:
        """End a trial."""
        stop_trial(name, Path.cwd())

    def close(self) -> None:
        """End what still runs."""
        for name, future in self._futures.items():
            while not future.done():  # it may not have begun
                self.stop(name)
                time.sleep(trials.LOOK)
        self._pool.shutdown()


class OnRay:
    """Runs trials in clones on the machines of a Ray cluster; results come back by Git and DVC."""

    def __init__(self, width: int, stage: str) -> None:
        """Find the cluster, and see that other machines can have what is tried.

        Raises:
            UserError: there is no Ray, no cluster, or no commit that others can fetch.
        """
        try:
            import ray
        except ModuleNotFoundError:
            raise UserError("Ray is not installed; `make scale` installs it") from None
        self.width, self._ray = width, ray
        self._origin = _origin(stage)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = os.environ.get("RAY_ADDRESS", "auto")
        try:
            if match := HOST_AND_PORT.fullmatch(address):  # Ray itself would ask for minutes
                socket.create_connection((match[1], int(match[2])), timeout=10).close()
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster answers ({' '.join(str(error).split())[:200]}); start one with "
                "`.venv/bin/ray start --head`, or name one with RAY_ADDRESS"
            ) from None
        ray.cloudpickle.register_pickle_by_value(trials)  # whatever revision a machine has
        self._run = ray.remote(num_cpus=1, max_retries=LOST_WORKERS, scheduling_strategy="SPREAD")(
            run_trial
        )
        self._references: dict[str, Any] = {}

    def start(self, trial: Trial) -> None:
        """Begin a trial."""
        self._references[trial.name] = self._run.remote(trial, self._origin)

    def ended(self, name: str) -> str | None:
        """Why a trial failed; empty if it did not; None while it runs."""
        if not self._is_done(name):
            return None
        try:
            failed = str(self._ray.get(self._references[name]))
        except self._ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[-1]
        if not failed:
            pull = ["dvc", "exp", "pull", "--quiet", "--no-cache", "origin", name]
            pulled = subprocess.run(pull, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
            failed = pulled.stderr.strip()[:200] if pulled.returncode else ""
        return failed

    def stop(self, name: str) -> None:
        """End a trial."""
        self._ray.cancel(self._references[name], force=False)

    def close(self) -> None:
        """End what still runs, and wait until it has: Ray would leave DVC and stage behind."""
        running = [name for name in self._references if not self._is_done(name)]
        for name in running:
            self.stop(name)
        for name in running:
            self._is_done(name, wait=2 * trials.PATIENCE)
        self._ray.shutdown()

    def _is_done(self, name: str, *, wait: float = 0) -> bool:
        """Whether a trial has ended, after so many seconds at most."""
        return bool(self._ray.wait([self._references[name]], timeout=wait)[0])


Runner = Here | OnRay


def _origin(stage: str) -> Origin:
    commit = workspace().commit
    if git_says("status", "--porcelain"):
        raise UserError("the workspace has changes that other machines lack; commit and push them")
    if not commit or not git_says("branch", "--remotes", "--contains", commit):
        raise UserError("other machines cannot have this commit; `git push` it, and `dvc push`")
    if subprocess.run(["dvc", "remote", "default"], capture_output=True, check=False).returncode:  # noqa: S607  # of the environment
        raise UserError(
            "no DVC remote is the default, so other machines cannot have the data; `dvc remote add "
            "--default NAME URL`, commit and push that, and `dvc push`"
        )
    pipeline = workspace().pipeline
    outs = {path for each in pipeline.stages.values() for path in each.cached}
    inputs = [path for path in pipeline.stages[stage].deps if path in outs]
    return Origin(git_says("remote", "get-url", "origin"), commit, inputs)
