"""Tags of runs: by them a run is found again, and tied to revisions and to its process."""

import re
import socket

import psutil

from stages.data.errors import UserError
from stages.tracking.environment import dvc_experiment
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import Revision, path_in_repository, repository

ENTRY = "dvc.record"  # `LockEntry.key`; set last: a run that has it is complete
COMPUTATION = "dvc.computation"  # of a run that is not complete yet, to find it again
MISSING = "dvc.missing"
EDITED = "dvc.edited_while_running"
STAGE = "stage"
PROCESS = "process"
MADE_FROM = "made_from"
COMMIT = "git.commit"
DIRTY = "git.dirty"
EXPERIMENT = "dvc.exp_name"
BASELINE = "dvc.exp_baseline"
DEP = "dep."  # and a path: the md5 of what was read there
OUT = "out."  # and of what was written


def membership(experiment: str) -> str:
    """Key of the tag of every run that an experiment holds, whoever computed it first.

    One tag an experiment: two people who add theirs at the same time do not overwrite each other's.
    """
    return "dvc.exp." + re.sub(r"[^/\w.\- :]", "_", experiment)  # what MLflow allows in a key


def of_experiment(name: str, baseline: str) -> dict[str, str]:
    """Tags of a computation that a DVC experiment caused; none without a name."""
    if not name:
        return {}
    return {EXPERIMENT: name, BASELINE: baseline, membership(name): baseline}


def of_revision(revision: Revision) -> dict[str, str]:
    """Tags that say which revision and which DVC experiment a run belongs to.

    `git.dirty` leaves out what the pipeline itself writes: DVC deletes the outputs of a stage
    before it runs and rewrites dvc.lock after.
    """
    if not revision.is_workspace:
        experiment = revision.name if revision.baseline else ""
        commit = revision.baseline or revision.commit
        return {**of_experiment(experiment, revision.baseline), COMMIT: commit}
    tags = {**of_experiment(*dvc_experiment()), DIRTY: "true"}
    try:
        git = repository().git
        tags[COMMIT] = repository().head.commit.hexsha
        outs = (path for each in revision.pipeline.values() for path in each.outs)
        written = [f":(exclude,literal){path_in_repository(path)}" for path in (*outs, LOCK_FILE)]
        tags[DIRTY] = str(bool(git.diff("HEAD", "--name-only", "--", *written))).lower()
    except (UserError, ValueError):  # no repository, no commit yet, or dvc.yaml cannot be read
        pass
    return tags


def this_process() -> str:
    """This process, as host, process id and start: tells whether a run still has its writer."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def writer_is_gone(process: str) -> bool:
    """Whether a process, by its tag, ran on this machine and is no more."""
    host, pid, start = process.split()
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - int(start)) > 1
    except psutil.NoSuchProcess:
        return True
