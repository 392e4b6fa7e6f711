"""Python runs this when it starts, where PYTHONPATH has this folder: it looks on as a stage writes.

In the processes of stages, and as the environment asks:
    WATCH_LOG: a file; what is opened for writing or renamed is added to it, a line each, and what
        is read below data/.
    WATCH_KILL_AFTER: seconds after its data are first opened; then the process, and DVC that
        started it, are ended with SIGKILL.
    WATCH_PAUSE: seconds that pass when its data are first opened.
    WATCH_KILL_AT: a number; so they are ended before the output with that number gets its name.
"""

import os
import signal
import sys
import threading
import time


def end_all() -> None:
    os.killpg(0, signal.SIGKILL)


def watch() -> None:
    log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    kill_at = int(os.environ.get("WATCH_KILL_AT", "-1"))
    kill_after = float(os.environ.get("WATCH_KILL_AFTER", "0"))
    pause = float(os.environ.get("WATCH_PAUSE", "0"))
    renamed = 0

    def note(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal renamed, kill_after, pause
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                os.write(log, f"open {path}\n".encode())
                return
            if str(path).startswith("data/"):
                os.write(log, f"read {path}\n".encode())
            if kill_after and str(path).startswith("data/"):
                timer = threading.Timer(kill_after, end_all)
                timer.daemon = True
                timer.start()
                kill_after = 0
            if pause and str(path).startswith("data/"):
                time.sleep(pause)
                pause = 0
        elif event == "os.rename":
            renamed += str(arguments[1]).startswith(("data/", "metrics/"))
            if renamed == kill_at:
                end_all()
            os.write(log, f"rename {arguments[1]}\n".encode())

    sys.addaudithook(note)


if "WATCH_LOG" in os.environ and any(each.split(".")[0] == "stages" for each in sys.orig_argv):
    watch()
