"""Progress is a bar on a terminal, a line now and then in a log, and nothing for who wants nothing."""

from __future__ import annotations

import pytest

from compressvqa import progress
from compressvqa.progress import Bar, Lines, bar, say_nothing


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines("score", 100, clock)
    for second in range(0, 101):
        clock.now = float(second)
        lines(second)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "score: 30 of 100, 30 s so far, about 70 s left",
        "score: 60 of 100, 60 s so far, about 40 s left",
        "score: 90 of 100, 2 min so far, about 10 s left",
    ]


def test_what_was_done_before_is_not_counted_as_done_now(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines("stage: teacher", clock=clock)
    lines.update(900, 1000)
    clock.now = 50.0
    lines.update(950, 1000, "loss 0.5")
    assert capsys.readouterr().err == "stage: teacher: 950 of 1000, loss 0.5, 50 s so far, about 50 s left\n"


def test_short_work_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("short") as shown:
        assert isinstance(shown, Lines)
        for done in range(50):
            shown(done, 50)
    assert capsys.readouterr().err == ""


def test_who_wants_nothing_gets_nothing() -> None:
    assert progress.SECONDS_BETWEEN_LINES > 0
    say_nothing(True)
    try:
        with bar("silent") as shown:
            assert type(shown) is Bar
    finally:
        say_nothing(False)
    with bar("off", shown=False) as shown:
        assert type(shown) is Bar
