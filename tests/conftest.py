"""Tests depend on no settings of whoever runs them; run in a hook, they keep off its repository."""

import os
import signal
import sys
from pathlib import Path

from stages.workflow import settings
from tests.raw_files import ROOT

settings.put_aside()
# What a script starts in the background ignores it, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in [each for each in os.environ if each.startswith("GIT_")]:
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
for role in ("AUTHOR", "COMMITTER"):  # not in the file, as libgit2 of DVC does not read that
    os.environ[f"GIT_{role}_NAME"] = "Test"
    os.environ[f"GIT_{role}_EMAIL"] = "test@example.invalid"

# What a run leaves in the checkout depends on the machine, so tests look at the last commit instead
# (tests/committed.py), and see the same before and after `make repro`.
OF_RUNS = tuple(
    str(ROOT / name)
    for name in (
        "dvc.lock",
        "metrics",
        "mlflow.db",
        "logs",
        "report",
        "data/models",
        "data/prepared",
    )
)


def _keep_off_results(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  # of links themselves
        is_result = path.startswith(OF_RUNS) and not path.endswith(".gitignore")
        if is_result and os.path.isfile(path):  # noqa: PTH113  # not a folder, by its name alone
            raise AssertionError(f"a test opens {path}; take that of the last commit")


sys.addaudithook(_keep_off_results)
