"""Long work is never silent: a bar on a terminal, else a line every 30 seconds."""

import pytest

from stages.data import progress
from stages.data.progress import Progress


def test_without_a_terminal_there_is_a_line_every_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(Progress, "_last_line", 0.0)
    for title in ("first part", "second part"):  # 50 seconds each
        work = Progress(title, 5000, "images")
        for _ in range(50):
            now += 1
            work.update(100)
        work.close()
    assert capsys.readouterr().err.splitlines() == [
        "first part: 3,000 of 5,000 images",
        "second part: 1,000 of 5,000 images",
        "second part: 4,000 of 5,000 images",
    ]


def test_a_line_of_another_kind_counts_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(Progress, "_last_line", 0.0)
    work = Progress("training", 100, "batches")
    for step in range(100):
        now += 1
        work.update(1)
        if step % 20 == 19:
            work.clear()  # as at the end of an epoch, which is reported
    assert capsys.readouterr().err == ""
