"""What the tests of pruning share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pruning.clocks import Clock

from compressvqa.cost import clock as clock_module
from compressvqa.pruning.widths import runtimes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only moves when a network is run; the timer reads it in place of the machine's."""
    made = Clock()
    for module in (clock_module, runtimes):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made
