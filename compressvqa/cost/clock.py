"""The clock: how long a call takes, with the work that an accelerator does behind Python's back."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """Wall time of `times` calls in a row, in seconds.

    >>> seconds(lambda: None) >= 0
    True
    """
    _wait()
    start = time.perf_counter()
    for _ in range(times):
        call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
