"""Long work is never silent: a bar on a terminal, else a line every 30 seconds."""

from collections.abc import Callable

import pytest

from stages.data import progress
from stages.data.progress import Progress, untold


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Progress], None]:
    """Gives a function that does a piece of some work, in a second."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(Progress, "_last_line", 0.0)

    def do(shown: Progress) -> None:
        nonlocal now
        now += 1
        shown.update(100)

    return do


def test_without_a_terminal_there_is_a_line_every_30_seconds(
    work: Callable[[Progress], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for title in ("first part", "second part"):
        shown = Progress(title, 5000, "images")
        for _ in range(50):
            work(shown)
        shown.close()
    assert capsys.readouterr().err.splitlines() == [
        "first part: 3,000 of 5,000 images",
        "second part: 1,000 of 5,000 images",
        "second part: 4,000 of 5,000 images",
    ]


def test_work_within_work_and_what_a_server_does_say_nothing(
    work: Callable[[Progress], None], capsys: pytest.CaptureFixture[str]
) -> None:
    outer = Progress("predict", 5000, "photos")
    for _ in range(4):
        inner = Progress("cnn", 1000, "images")
        for _ in range(10):
            work(inner)
        inner.close()
        outer.update(1000)
    outer.close()
    assert capsys.readouterr().err.splitlines() == ["predict: 3,000 of 5,000 photos"]
    with untold():
        shown = Progress("cnn", 5000, "images")
        for _ in range(50):
            work(shown)
    assert capsys.readouterr().err == ""


def test_a_line_of_another_kind_counts_as_one(
    work: Callable[[Progress], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Progress("training", 10_000, "batches")
    for step in range(100):
        work(shown)
        if step % 20 == 19:
            shown.clear()  # as at the end of an epoch, which is reported
    assert capsys.readouterr().err == ""
