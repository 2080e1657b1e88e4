"""How long networks take: ways to run one, and a clock that runs two in turn."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressvqa.errors import MissingExtraError, PruneError
from compressvqa.pruning.record import run

Call = Callable[[], object]
Runtime = str | Callable[[nn.Module, Any], Call]

_SHORTEST = 2e-3  # seconds: shorter calls are timed several at once
_FEWEST_ROUNDS, _MOST_ROUNDS, _MOST_SECONDS = 6, 50, 10.0


def _eager(model: nn.Module, inputs: Any) -> Call:
    return lambda: run(model, inputs)


def _compile(model: nn.Module, inputs: Any) -> Call:
    import torch._dynamo

    compiled: Any = torch.compile(model, dynamic=False)
    # All candidates of a search share one code object, for which torch keeps few compiled forms by default.
    with torch._dynamo.config.patch(recompile_limit=256, accumulated_recompile_limit=1024), torch.inference_mode():
        run(compiled, inputs)
    return lambda: run(compiled, inputs)


def _onnxruntime(model: nn.Module, inputs: Any) -> Call:
    for package in ("onnxruntime", "onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "onnx")
    onnxruntime = import_module("onnxruntime")
    arguments = () if isinstance(inputs, dict) else tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    named = inputs if isinstance(inputs, dict) else None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.onnx"
        torch.onnx.export(model, arguments, file, kwargs=named, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    tensors = [t.detach().cpu().numpy() for t in tree_leaves(inputs) if isinstance(t, Tensor)]
    feed = {given.name: tensor for given, tensor in zip(session.get_inputs(), tensors, strict=True)}
    return lambda: session.run(None, feed)


RUNTIMES: dict[str, Callable[[nn.Module, Any], Call]] = {
    "eager": _eager,
    "compile": _compile,
    "onnxruntime": _onnxruntime,
}


def call_of(runtime: Runtime, model: nn.Module, inputs: Any) -> Call:
    """A call without arguments that runs a copy of the network in eval mode.

    Args:
        runtime: "eager", "compile" (torch.compile), "onnxruntime", or a function ``(model, inputs) -> call``.
        model: the network.
        inputs: what it is called with.

    Raises:
        PruneError: no such runtime.
        MissingExtraError: the runtime is not installed.
    """
    make = RUNTIMES.get(runtime) if isinstance(runtime, str) else runtime
    if make is None:
        raise PruneError(f"unknown runtime {runtime!r}", hint=", ".join(RUNTIMES) + ", or a function")
    call = make(copy.deepcopy(model).eval(), inputs)
    if not callable(call):
        raise PruneError(f"the runtime returned {type(call).__name__}, not a function without arguments to be timed")
    return call


def name_of(runtime: Runtime) -> str:
    """What to call a runtime in words."""
    return runtime if isinstance(runtime, str) else getattr(runtime, "__qualname__", type(runtime).__name__)


@dataclass(frozen=True)
class Timing:
    """The time of one call before and after, measured in turn on this machine.

    Args:
        before_ms: median of the original, in milliseconds.
        after_ms: median of the smaller one, from the same rounds.
        share: what is left of the latency: the median over the rounds of the ratio inside a round, which a machine that
            grows slower or busier between rounds does not disturb.
        runtime: what ran them.
        threads: threads that torch used inside an operator.
        rounds: how often they were timed.
    """

    before_ms: float
    after_ms: float
    share: float
    runtime: str
    threads: int
    rounds: int

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
        within: standard error of the ratio to reach, where it is near.
    """
    with torch.inference_mode():
        for call in (before, after):
            _seconds(call, 2)
        longest = max(_seconds(before, 1), _seconds(after, 1), 1e-7)
        repeat = max(1, math.ceil(_SHORTEST / longest))
        rounds: list[tuple[float, float]] = []
        end = time.perf_counter() + _MOST_SECONDS
        while True:
            first = _seconds(before, repeat)
            small = _seconds(after, repeat) + _seconds(after, repeat)
            rounds.append((first + _seconds(before, repeat), small))
            if len(rounds) < _FEWEST_ROUNDS:
                continue
            times = np.array(rounds)
            ratios = np.log(times[:, 1] / times[:, 0])
            ratio, error = float(np.median(ratios)), _standard_error(ratios)
            far = abs(ratio - math.log(near)) > 0.25 + 3 * error
            if far or error < within or len(rounds) >= _MOST_ROUNDS or time.perf_counter() > end:
                break
    medians = 1000 * np.median(times, axis=0) / (2 * repeat)
    return Timing(
        before_ms=float(medians[0]),
        after_ms=float(medians[1]),
        share=math.exp(ratio),
        runtime=runtime,
        threads=torch.get_num_threads(),
        rounds=len(rounds),
    )


def _standard_error(values: NDArray[np.float64]) -> float:
    """Of the median, from the spread of the middle half, as if the values were normal."""
    low, high = np.percentile(values, [25, 75])
    return float((high - low) / 1.349 * 1.2533 / math.sqrt(len(values)))


def _seconds(call: Call, times: int) -> float:
    _wait()
    start = time.perf_counter()
    for _ in range(times):
        call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    """Accelerators work behind Python's back; a clock must wait for them."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
