"""A clock that only moves when a network is run, so that latencies can be tested on any machine, however busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Clock:
    """A runtime on which a call takes 2 ms, and 8 ms more for each 1,000 parameters."""

    def __init__(self) -> None:
        self.now = 0.0

    def tick(self, seconds: float) -> Callable[[], None]:
        """A call that takes so long."""

        def call() -> None:
            self.now += seconds

        return call

    def takes(self, model: nn.Module) -> float:
        """Seconds of a call."""
        return 0.002 + 8e-6 * sum(p.numel() for p in model.parameters())

    def runtime(self, model: nn.Module, inputs: Any) -> Callable[[], None]:
        """What `prune` takes as a runtime."""
        return self.tick(self.takes(model))
