"""How long networks take: ways to run one, and a clock that runs two in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressvqa.cost.clock import seconds
from compressvqa.errors import PruneError
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.settings import Runtime
from compressvqa.registry import runtimes

Call = Callable[[], object]

_SHORTEST = 2e-3  # seconds: shorter calls are timed several at once
_FEWEST_ROUNDS, _MOST_ROUNDS, _MOST_SECONDS = 6, 50, 10.0


def call_of(runtime: Runtime, model: nn.Module, inputs: Any) -> Call:
    """A call without arguments that runs a copy of the network in eval mode.

    Args:
        runtime: a registered runtime, the same that scores ("eager", "compile", "onnxruntime", "openvino", "native"),
            or a function ``(model, inputs) -> call``.
        model: the network.
        inputs: what it is called with.

    Raises:
        PruneError: no such runtime.
        MissingExtraError: the runtime is not installed.
        RuntimeRefusedError: it can't run this network.
    """
    network = copied(model, {}).eval()
    if isinstance(runtime, str):
        if runtime not in runtimes:
            raise PruneError(f"unknown runtime {runtime!r}", hint=", ".join(runtimes) + ", or a function")
        compiled = runtimes[runtime].value().compile(network, inputs)
        if isinstance(inputs, dict):
            return lambda: compiled(**inputs)
        given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        return lambda: compiled(*given)
    call = runtime(network, inputs)
    if not callable(call):
        raise PruneError(f"the runtime returned {type(call).__name__}, not a function without arguments to be timed")
    return call


def name_of(runtime: Runtime) -> str:
    """What to call a runtime in words."""
    return runtime if isinstance(runtime, str) else getattr(runtime, "__qualname__", type(runtime).__name__)


@dataclass(frozen=True)
class Timing:
    """The time of one call before and after, measured in turn on this machine.

    Times are those that one call in ten stays below: what a call takes where the machine has nothing else to do. On a
    busy machine medians would say that networks are more alike than they are.

    Args:
        before_ms: of the original, in milliseconds.
        after_ms: of the smaller one, from the same rounds.
        runtime: what ran them.
        threads: threads that torch used inside an operator.
        rounds: how often they were timed, each twice a round.
    """

    before_ms: float
    after_ms: float
    runtime: str
    threads: int
    rounds: int

    @property
    def share(self) -> float:
        """What is left of the latency."""
        return self.after_ms / self.before_ms

    def __str__(self) -> str:
        what = f"{self.runtime}, {self.threads} thread{'s' if self.threads > 1 else ''}, {self.rounds} rounds in turn"
        return f"{self.before_ms:.3g} ms -> {self.after_ms:.3g} ms ({self.share:.1%}; {what})"


def compare(before: Call, after: Call, runtime: str, *, near: float = 1.0, within: float = 0.015) -> Timing:
    """Times two calls in rounds, A B B A, until their ratio is known well enough.

    Args:
        before: the call that the other is compared with.
        after: the other one.
        runtime: its name, for the record.
        near: a ratio that is surely a quarter away from this one need not be known well.
        within: how far apart the ratios of even and of odd rounds may be, relatively, where the ratio is near.
    """
    with torch.inference_mode():
        for call in (before, after):
            seconds(call, 2)
        longest = max(seconds(before, 1), seconds(after, 1), 1e-7)
        repeat = max(1, math.ceil(_SHORTEST / longest))
        rounds: list[list[float]] = []
        end = time.perf_counter() + _MOST_SECONDS
        while True:
            rounds.append([seconds(call, repeat) for call in (before, after, after, before)])
            if len(rounds) < _FEWEST_ROUNDS:
                continue
            even, odd = (_log_ratio(np.array(rounds[start::2])) for start in (0, 1))
            far = abs((even + odd) / 2 - math.log(near)) > 0.25 + 2 * abs(even - odd)
            known = abs(even - odd) < within and len(rounds) >= 2 * _FEWEST_ROUNDS
            if far or known or len(rounds) >= _MOST_ROUNDS or time.perf_counter() > end:
                break
    quick = 1000 * _quick(np.array(rounds)) / repeat
    return Timing(float(quick[0]), float(quick[1]), runtime, torch.get_num_threads(), len(rounds))


def _quick(rounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times that a tenth of the calls stay below, before and after, from rows of times in the order A B B A."""
    pairs = np.stack([rounds[:, [0, 3]].ravel(), rounds[:, [1, 2]].ravel()])
    quick: NDArray[np.float64] = np.percentile(pairs, 10, axis=1)
    return quick


def _log_ratio(rounds: NDArray[np.float64]) -> float:
    before, after = _quick(rounds)
    return math.log(after / before)
