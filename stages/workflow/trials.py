"""Trials of a search: DVC experiments in copies of the project, here or on other machines.

`run_trial` is all that a machine does of a search. Ray sends this module to it as it is, so it
imports nothing of ours.
"""

import contextlib
import hashlib
import itertools
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

CLONES = Path(".cache/trials")  # in the home folder of a machine
TEMPORARY = ["exp", "run", "--temp"]  # in the command line of DVC
STAGE = ["-m", "stages"]  # in the command line of a process that runs a stage
PATIENCE = 120.0  # seconds in which an interrupted trial may tell MLflow and clear up
LOOK = 0.2  # seconds between two looks at processes
TOLD = 3  # lines of what DVC said that tell why a trial failed


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        name: of the DVC experiment.
        params: each `key=value`, as for `dvc exp run --set-param`.
        stage: that trains the model; with those that it needs, it alone is run.
    """

    name: str
    params: Sequence[str]
    stage: str


@dataclass(frozen=True)
class Origin:
    """From where another machine has the project.

    Attributes:
        url: of the Git repository.
        commit: which is tried.
        inputs: paths of what the stage reads and DVC keeps.
    """

    url: str
    commit: str
    inputs: Sequence[str]


def run_trial(trial: Trial, origin: Origin | None = None) -> str:
    """Run a trial in a copy of the project; if it was run already, that is all.

    Args:
        trial: what is tried.
        origin: None for the project in the working directory; else a clone of this machine's own
            is used, and experiment and data are pushed to where the project is from.

    Returns:
        Why it failed; empty if it did not.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_clone(origin.url)) if origin else Path.cwd()
        log = folder / "logs" / trial.name / "dvc.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        said = stack.enter_context(log.open("w", encoding="utf-8"))

        def call(*command: str) -> bool:
            return _call(command, folder, said.fileno())

        # A search that was killed may have left it running, here or in another clone.
        stop_trial(trial.name, folder.parent if origin else folder)
        pull = ("dvc", "exp", "pull", "origin", trial.name)
        if origin and _has(folder, "origin", trial.name) and call(*pull):
            return ""
        done = _has(folder, ".", trial.name)
        if not done and all(call(*command) for command in _commands(trial, origin)):
            done = _has(folder, ".", trial.name)
        if origin and done:
            done = call("dvc", "exp", "push", "origin", trial.name)
    if done:
        return ""
    lines = [each for each in log.read_text(encoding="utf-8").splitlines() if each.strip()]
    errors = [each for each in lines if each.startswith("ERROR")]
    return " / ".join((errors or lines or ["DVC said nothing"])[:TOLD])


def _commands(trial: Trial, origin: Origin | None) -> list[list[str]]:
    """What makes the experiment of a trial."""
    settings = [f"--set-param={each}" for each in trial.params]
    named = ["--name", trial.name, *settings, trial.stage]
    run = ["dvc", *TEMPORARY, *named, "--allow-missing"]  # what other stages read or write
    if not origin:
        return [run]
    return [
        ["git", "fetch", "--quiet", "origin", origin.commit],
        ["git", "checkout", "--quiet", "--force", "--detach", origin.commit],
        ["dvc", "pull", *origin.inputs],
        run,
    ]


def stop_trial(name: str, folder: Path) -> None:
    """Interrupt the stage of a trial that runs in or below a folder; DVC then clears up.

    What is still there after `PATIENCE` is killed.
    """
    end, told = time.monotonic() + PATIENCE, set[int]()
    # Not psutil.wait_procs: it takes the exit code of a child from `_call`, which then reads 0.
    while running := _processes(name, folder):
        for each in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                if time.monotonic() > end:
                    each.kill()
                elif each.pid not in told and each.cmdline()[1:3] == STAGE:
                    told.add(each.pid)
                    each.send_signal(signal.SIGINT)  # so its run in MLflow ends, too
        time.sleep(LOOK)


def _processes(name: str, folder: Path) -> list[psutil.Process]:
    """DVC and stages of a trial, in or below a folder; a stage may have outlived its DVC."""
    named = ["--temp", "--name", name]
    return [
        process
        for process, command, where in _all_processes()
        if where.is_relative_to(folder.resolve())
        and (_has_part(command, named) or _experiment(process) == name)
    ]


def wait_for_workspace(folder: Path) -> None:
    """Wait while DVC begins an experiment of a folder, whose files it changes for that moment.

    A search that was killed may have left it at that.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(
        where == folder.resolve() and _has_part(command, TEMPORARY) and not _has_stage(process)
        for process, command, where in _all_processes()
    ):
        time.sleep(LOOK)


def _all_processes() -> Iterator[tuple[psutil.Process, list[str], Path]]:
    """Processes that are no zombies, with command line and working directory."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cmdline"] and process.info["cwd"]:
            yield process, process.info["cmdline"], Path(process.info["cwd"])


def _has_part(command: Sequence[str], part: Sequence[str]) -> bool:
    return any(command[at : at + len(part)] == part for at in range(len(command)))


def _experiment(process: psutil.Process) -> str:
    """The DVC experiment of a stage; empty of other processes."""
    with contextlib.suppress(psutil.Error):
        return str(process.environ().get("DVC_EXP_NAME", ""))
    return ""


def _has_stage(process: psutil.Process) -> bool:
    """Whether a stage runs below a process."""
    with contextlib.suppress(psutil.Error):
        return any(_experiment(each) for each in process.children(recursive=True))
    return False


def _call(command: Sequence[str], folder: Path, said: int) -> bool:
    """Whether a program succeeds; what it says goes to an open file."""
    # Ray blocks it in its processes, and a stage would inherit that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with subprocess.Popen(command, cwd=folder, stdout=said, stderr=said) as process:  # noqa: S603  # no shell
        try:
            # Ray interrupts the main thread without a signal, which a plain wait would not notice.
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(LOOK) == 0
        except BaseException:
            if "--name" in command:
                stop_trial(command[command.index("--name") + 1], folder)
            process.terminate()
            raise


@contextlib.contextmanager
def _clone(url: str) -> Iterator[Path]:
    """A clone for one trial at a time: the first that no other process of this machine uses.

    Raises:
        OSError: Git cannot clone; the message is Git's.
    """
    clones = Path.home() / CLONES / hashlib.sha256(url.encode()).hexdigest()[:12]
    clones.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for number in itertools.count():
            folder = clones / str(number)
            with contextlib.suppress(Timeout):
                stack.enter_context(FileLock(f"{folder}.lock", timeout=0))
                break
        if not folder.exists():
            unfinished = Path(f"{folder}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            command = ["git", "clone", "--quiet", url, str(unfinished)]
            cloned = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
            if cloned.returncode:
                raise OSError(" ".join(cloned.stderr.split()))
            unfinished.rename(folder)
        yield folder


def _has(folder: Path, repository: str, experiment: str) -> bool:
    """Whether a repository, `.` or `origin` of a folder, has an experiment of that name."""
    listed = ["git", "ls-remote", repository, "refs/exps/*"]
    told = subprocess.run(listed, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    return any(each.endswith(f"/{experiment}") for each in told.stdout.split())
