"""Make .venv anew from requirements.lock: `make setup` runs this with the Python to make it of.

What the machine may lack is told before anything is fetched. Nothing but Python itself is needed.
With --scale the packages of requirements.scale.lock are added to an environment that is there.
"""

# ruff: noqa: INP001, S603  # a script, that runs programs it names itself

import ast
import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LOCK, SCALE_LOCK = Path("requirements.lock"), Path("requirements.scale.lock")
FOLDER = Path(".venv")
PYTHON, UV = FOLDER / "bin" / "python", FOLDER / "bin" / "uv"
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check")
QUIET = ("--quiet", "--require-hashes")
# A Python may be built or packaged without these; ensurepip is what Debian's python3-venv brings.
MODULES = ("bz2", "ctypes", "ensurepip", "lzma", "sqlite3", "ssl", "venv", "zlib")
MACHINES = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}  # of TensorFlow
# What uv calls that which pip is told in its files or its environment.
NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


def main(arguments: list[str]) -> None:
    """Check the machine, make the environment, install what is in the lock file."""
    if arguments == ["--scale"]:
        install(LOCK, SCALE_LOCK)
        return
    check_python()
    check_git()
    if FOLDER.is_symlink():
        refuse(
            f"{FOLDER} is a link, and making it anew would empty what it points to; remove the link"
        )
    # Of an environment that is active, the Python below it: this one may be about to be deleted.
    run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", FOLDER)
    # uv installs the lock in seconds where pip takes minutes; it is itself taken from the lock.
    (pinned,) = re.findall(r"^uv==(?:.*\\\n)*.*\n", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    (FOLDER / "uv.lock").write_text(pinned, encoding="utf-8")
    os.environ["PIP_USER"] = "0"  # some have it in their settings, and pip would refuse
    run(*PIP, "install", *QUIET, "-r", FOLDER / "uv.lock")
    install(LOCK)
    run(PYTHON, "-m", "stages", "plots_page")


def install(*locks: Path) -> None:
    """Make the environment hold what is in lock files, and nothing else."""
    os.environ.update(settings_for_uv(output(*PIP, "config", "list")))
    cache = Path(output(UV, "cache", "dir"))
    if not os.access(next(each for each in (cache, *cache.parents) if each.exists()), os.W_OK):
        os.environ["UV_NO_CACHE"] = "1"  # a home folder that cannot be written
    # Bytecode is made here, once: where Python may not write it, importing TensorFlow takes three
    # times as long, in every process.
    run(UV, "pip", "sync", *QUIET, "--python", PYTHON, "--compile-bytecode", *locks)


def check_python() -> None:
    """Refuse a Python for which there are no packages, or which lacks a part of its library."""
    machine = (sys.platform, platform.machine())
    if machine not in MACHINES or "musl" in (sysconfig.get_config_var("SOABI") or ""):
        refuse(
            f"there is no TensorFlow for {sysconfig.get_platform()}, which {sys.executable} is "
            "made for; Linux (glibc) on x86-64 or arm64, or macOS on arm64 is needed"
        )
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            refuse(
                f"{sys.executable} lacks {name} of Python's own library ({error}); install that "
                "(Debian and Ubuntu: python3-venv), or name another: make PYTHON=python3.12"
            )


def check_git() -> None:
    """Refuse a folder that Git does not take for a repository: DVC needs one."""
    if not shutil.which("git"):
        refuse("there is no program git, which DVC and MLflow need; install Git")
    asked = subprocess.run(
        ["git", "rev-parse", "--git-dir"],  # noqa: S607  # the user's own Git
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if "not a git repository" in asked.stderr:
        refuse(
            f"{Path.cwd()} is no Git repository, which DVC needs; clone the project, or make one "
            "of it: `git init --initial-branch main` and "
            "`git add --all && git commit --message 'the project'`"
        )
    if asked.returncode:
        refuse(asked.stderr.strip())


def settings_for_uv(listed: str) -> dict[str, str]:
    """What uv does not read of pip's settings: mirrors, proxy, certificates.

    Args:
        listed: what `pip config list` says, as `global.index-url='https://…'`.
    """
    of_pip: dict[str, str] = {}
    # What is for `pip install` counts more than what is for all of pip, and the environment most.
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                of_pip[key.removeprefix(section)] = ast.literal_eval(value)
    # As pip does, look for each version in all places; the hashes say whether it is the right one.
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for key, name in NAMES.items():
        if value := of_pip.get(key, "").split():
            found[name] = ("," if key == "find-links" else " ").join(value)
    return {name: value for name, value in found.items() if name not in os.environ}


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.check_output(command, encoding="utf-8").strip()


def run(*command: str | Path) -> None:
    """Run a command that says itself what it fails with."""
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def refuse(reason: str) -> None:
    """End with one line that says why."""
    print(f"ERROR: {reason}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
