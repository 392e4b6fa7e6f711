"""Tags of runs: by them a run is found again, and tied to revisions and to its process."""

import atexit
import contextlib
import functools
import os
import socket
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from stages.data.errors import UserError
from stages.tracking.environment import dvc_experiment, own_folder
from stages.workflow.pipeline import LOCK_FILE
from stages.workflow.revisions import Revision, git_says

ENTRY = "dvc.record"  # `LockEntry.key`; set last: a run that has it is complete
COMPUTATION = "dvc.computation"  # of a run that is not complete yet, to find it again
MISSING = "dvc.missing"
NO_MODEL = "model.missing"  # why no model was logged with the run
EDITED = "dvc.edited_while_running"
STAGE = "stage"
PROCESS = "process"
MADE_FROM = "made_from"
COMMIT = "git.commit"
DIRTY = "git.dirty"
EXPERIMENT = "dvc.exp_name"
BASELINE = "dvc.exp_baseline"
DEP = "dep."  # and a path: the md5 of the data that were read there
OUT = "out."  # and of what was written
CODE = "code"  # `md5_of_json` of `LockEntry.code`, which stands in the artifact `CODE_LIST`
CODE_LIST = "code.json"
SUMMARY = "dvc.summary"  # of a summary run, which has no STAGE; set last: it is complete
KIND = "kind"
REVISION = "revision"
REMOVED = "removed"  # of a run that sync deleted, so no person did
CLONE = "clone"  # which folder of which machine a summary run was made in
# MLflow's own: not listed among the tags of a page, but shown elsewhere on it.
USER = "mlflow.user"
NOTE = "mlflow.note.content"
SOURCE = "mlflow.source.name"
SOURCE_TYPE = "mlflow.source.type"
SOURCE_COMMIT = "mlflow.source.git.commit"


def of_revision(revision: Revision) -> dict[str, str]:
    """Tags that say which revision and which DVC experiment a run belongs to.

    `git.dirty` leaves out what the pipeline itself writes: DVC deletes the outputs of a stage
    before it runs and rewrites dvc.lock after.
    """
    of_name = (revision.name, revision.baseline)
    experiment, baseline = dvc_experiment() if revision.is_workspace else of_name
    tags = {EXPERIMENT: experiment, BASELINE: baseline} if baseline else {}
    if not revision.is_workspace:
        return {**tags, COMMIT: revision.baseline or revision.commit}
    tags[DIRTY] = "true"
    if revision.commit:
        tags[COMMIT] = revision.commit
        with contextlib.suppress(UserError):  # dvc.yaml cannot be read
            outs = (path for each in revision.pipeline.stages.values() for path in each.outs)
            below = (path for path in (*outs, LOCK_FILE) if not path.startswith(("/", "..")))
            written = [f":(exclude,literal){path}" for path in below]
            changed = git_says("diff", "HEAD", "--name-only", "--", ".", *written)
            tags[DIRTY] = str(bool(changed)).lower()
    return tags


@functools.cache
def this_process() -> str:
    """Names this process by a lock that it holds as long as it lives; empty if it cannot have one.

    Whoever gets the lock knows that the process is gone, also after a reboot and from another
    container, where neither host name nor process id tell.
    """
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    lock = _lock_of(name)
    try:
        lock.acquire()
    except OSError:
        return ""
    atexit.register(_give_up, lock)
    return name


def writer_is_gone(process: str) -> bool:
    """Whether a process, by its tag, began in this clone and is no more."""
    lock = _lock_of(process)
    if not Path(lock.lock_file).is_file():
        return False  # of another clone: who knows
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    _give_up(lock)
    return True


def _lock_of(process: str) -> FileLock:
    return FileLock(own_folder() / "running" / Path(process).name)


def _give_up(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
