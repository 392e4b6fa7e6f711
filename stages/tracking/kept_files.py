"""Files that Git keeps, as they are in the working tree or in a revision."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.data.errors import UserError
from stages.tracking.declared import LOCK_FILE

# Gives the content of the file at a path; None if there is none.
Read = Callable[[str], bytes | None]

CONFLICT = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)  # what a merge of Git leaves


def read_in_workspace(path: str) -> bytes | None:
    """Content of a file in the working tree; None if there is none."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its rights") from None


def reader_at(revision: str) -> Read:
    """What reads files as they are in a revision of Git.

    Raises:
        UserError: there is none of that name.
    """
    from stages.workflow.repository import file_at, find_commit  # the working tree needs no Git

    commit = find_commit(revision)
    return lambda path: file_at(commit, path)


def mapping_in(read: Read, path: str) -> dict[str, Any]:
    """Content of a YAML file.

    Raises:
        UserError: it is missing, cannot be read, or a merge has left a conflict in it.
    """
    content = read(path)
    if content is None:
        raise UserError(f"{path}: is missing; restore it from Git")
    if found := CONFLICT.search(content):
        line = content[: found.start()].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: a merge has left a conflict; {remedy(path)}")
    try:
        values = YAML(typ="safe").load(content.decode())
    except (YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read ({what}); {remedy(path)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no sections; {remedy(path)}")
    return values


def remedy(path: str) -> str:
    """What to do about a file that cannot be read."""
    if path != str(LOCK_FILE):
        return "mend it, or restore it from Git"
    return (
        f"take one side whole (`git checkout HEAD -- {LOCK_FILE} metrics`; `HEAD^` if it was "
        "committed so), then `dvc checkout`, `make repro`, and commit both (docs/ci.md)"
    )
