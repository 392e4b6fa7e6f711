"""Receipts: what a computation that finished here tells of itself, whether MLflow heard it or not.

Neither an output (which would give results a time) nor MLflow's: a small file under logs/receipts/,
named by the content of the computation. `sync` takes from it what files cannot tell: when the
computation began, how long it took, and which half-told run in MLflow is its own.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from stages.data.files import replacing
from stages.tracking.environment import project_root


@dataclass(frozen=True)
class Receipt:
    """One computation.

    Attributes:
        record: `LockEntry.key` of what DVC records of it.
        computation: the value of its run's tag `dvc.computation`.
        stage: name of the stage.
        started: seconds since 1970.
        seconds: how long it took, tracking included.
        tracking_seconds: how long of that it waited for MLflow.
        edited: deps and params that were edited while it ran, which DVC records as they are now.
        outs: md5 of each file and folder that it wrote.
    """

    record: str
    computation: str
    stage: str
    started: float
    seconds: float
    tracking_seconds: float
    edited: list[str]
    outs: dict[str, str]


def write_receipt(receipt: Receipt) -> None:
    """Keep a receipt; it takes the place of an earlier one of the same content."""
    with replacing(_folder() / f"{receipt.record}.json") as unfinished:
        text = json.dumps(dataclasses.asdict(receipt), indent=2)
        unfinished.write_text(text + "\n", encoding="utf-8")


def find_receipts(key: str = "*") -> list[Receipt]:
    """Receipts of computations that finished here, the latest first.

    Args:
        key: `LockEntry.key` of the one that is wanted; all by default.
    """
    found = []
    for path in _folder().glob(f"{key}.json"):
        try:
            found.append(Receipt(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):  # damaged, or of another version of the project
            continue
    return sorted(found, key=lambda receipt: receipt.started, reverse=True)


def _folder() -> Path:
    return project_root() / "logs" / "receipts"
