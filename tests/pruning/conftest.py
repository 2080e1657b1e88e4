"""What the tests of pruning share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pruning.clocks import Clock

from compressvqa.pruning.widths import runtimes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only moves when a network is run; the timer reads it in place of the machine's."""
    made = Clock()
    monkeypatch.setattr(runtimes, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made
