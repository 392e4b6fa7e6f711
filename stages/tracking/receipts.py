"""Receipts: what a computation that finished here tells of itself, whether MLflow heard it or not.

Neither an output (which would give results a time) nor MLflow's: a small file under logs/receipts/,
named by the content of the computation. `sync` takes from it what files cannot tell: when the
computation began, how long it took, and which half-told run in MLflow is its own.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass

from stages.data.files import replacing
from stages.tracking.environment import receipts_path


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
    with replacing(receipts_path() / f"{receipt.record}.json") as unfinished:
        text = json.dumps(dataclasses.asdict(receipt), indent=2)
        unfinished.write_text(text + "\n", encoding="utf-8")


def find_receipt(key: str) -> Receipt | None:
    """The receipt of a computation, by `LockEntry.key`; None where it did not finish here."""
    return next(_receipts(f"{key}.json"), None)


def all_receipts() -> list[Receipt]:
    """Receipts of all computations that finished here, the latest first."""
    return sorted(_receipts("*.json"), key=lambda receipt: receipt.started, reverse=True)


def _receipts(pattern: str) -> Iterator[Receipt]:
    for path in receipts_path().glob(pattern):
        try:
            yield Receipt(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # damaged, or of another version of the project
            continue
