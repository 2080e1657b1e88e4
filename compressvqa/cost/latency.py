"""How long a call takes on this machine: medians over repeated calls, several networks measured in turn."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.cost.clock import seconds
from compressvqa.errors import DataError

NOISY = 1.25  # times the median: slower than that, one call in ten says that something else ran on the machine


@dataclass(frozen=True)
class Latency:
    """Time of one call.

    Attributes:
        median_ms: the median, in milliseconds.
        p90_ms: nine of ten calls are faster.
        runs: number of calls measured.
        warmup: calls before, not measured.
        threads: threads torch used inside an operator.
        device: "cpu", or the accelerator's name.
        shapes: shapes of the inputs.
    """

    median_ms: float
    p90_ms: float
    runs: int
    warmup: int
    threads: int
    device: str
    shapes: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return asdict(self)


def is_noisy(median_ms: float, p90_ms: float) -> bool:
    """Whether a time is no steady figure: its 90th percentile is far from its median.

    >>> is_noisy(10.0, 11.0), is_noisy(10.0, 14.0)
    (False, True)
    """
    return p90_ms > NOISY * median_ms


def latency(
    model: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    *,
    warmup: int = 2,
    runs: int = 10,
    threads: int | None = None,
) -> Latency:
    """Measures ``model(*inputs)`` in evaluation mode and without gradients; see `compare_latency`.

    >>> latency(nn.Identity(), torch.zeros(1), runs=3).runs
    3
    """
    return compare_latency({"model": model}, inputs, warmup=warmup, runs=runs, threads=threads)["model"]


def compare_latency(
    models: Mapping[str, nn.Module],
    inputs: Tensor | Sequence[Tensor],
    *,
    warmup: int = 2,
    runs: int = 10,
    threads: int | None = None,
) -> dict[str, Latency]:
    """Measures several networks in turn, A B A B, so that a busy or warming machine disturbs them alike.

    Args:
        models: {name: network}; all are called with the same inputs and left in the modes they were in.
        inputs: on the device of the networks.
        warmup: rounds before the measured ones.
        runs: measured rounds.
        threads: threads of torch on the CPU; as they are set by default.

    Raises:
        DataError: no network, no run, or a network and the inputs on different devices.
    """
    if not models or runs < 1 or warmup < 0:
        raise DataError(f"nothing to measure: {len(models)} networks, {runs} runs after {warmup} warm-up runs")
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    device = arguments[0].device
    for name, model in models.items():
        elsewhere = next((p.device for p in model.parameters() if p.device != device), None)
        if elsewhere is not None:
            raise DataError(f"network {name!r} is on {elsewhere}, its inputs on {device}")
    times: dict[str, list[float]] = {name: [] for name in models}
    with _measuring(models.values(), threads) as used, torch.inference_mode():
        for turn in range(warmup + runs):
            for name, model in models.items():
                taken = seconds(functools.partial(model, *arguments))
                if turn >= warmup:
                    times[name].append(1000 * taken)
    return {
        name: Latency(
            median_ms=float(np.median(found)),
            p90_ms=float(np.percentile(found, 90)),
            runs=runs,
            warmup=warmup,
            threads=used,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            shapes=tuple(tuple(tensor.shape) for tensor in arguments),
        )
        for name, found in times.items()
    }


@contextmanager
def _measuring(models: Sequence[nn.Module] | Any, threads: int | None) -> Iterator[int]:
    before = torch.get_num_threads()
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        for module, _ in modes:
            module.training = False
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        for module, mode in modes:
            module.training = mode
