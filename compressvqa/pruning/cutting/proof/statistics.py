"""The one convention of the proof: a normalisation takes its mean and variance over the channels that are kept.

Zeros count in a mean, so that the network with zeroed channels would normalise by other numbers than a layer norm of
the kept width. In the reference the statistics that the trace has booked are taken over the kept channels only.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.pair import gone_roots
from compressvqa.pruning.dependency.rules.by_hand import STATISTICS
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.operators import calling_place
from compressvqa.torch_private import DispatchMode, operator_name

_Over = tuple[int | None, Any]  # the dimension that holds the channels, and the positions that are kept


class OtherSizeError(Exception):
    """A statistic is taken over another number of channels than in the trace: this size can't be compared."""


class KeptStatistics:
    """The statistics of one entry of a trace that some cuts change.

    A statistic is found again by its operator, module and source line, not by its size, so that it holds for inputs of
    other sizes; where one line takes several over different channels, they are told apart by their order.
    """

    def __init__(self, trace: Trace, cuts: Sequence[Cut], entry: int = 0) -> None:
        gone, find = gone_roots(trace, cuts), trace.dependencies.classes.find
        self._kept: dict[Any, dict[int, tuple[int, _Over | None]]] = {}
        changed = set()
        for s in (s for s in trace.dependencies.statistics if s.entry == entry):
            cut_at = gone[np.maximum(find(s.labels), 0)]
            over = (s.axis, np.flatnonzero(~cut_at)) if cut_at.any() else None
            self._kept.setdefault(s.key, {})[s.order] = len(s.labels), over
            if over is not None:
                changed.add(s.key)
        self._kept = {key: orders for key, orders in self._kept.items() if key in changed}

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Normalisations of this network take their statistics over the kept channels while this lasts."""
        if not self._kept:
            yield
            return
        paths, stack = {id(m): name for name, m in modules_of(model)}, [""]
        handles = [
            hooks.register_module_forward_pre_hook(lambda m, args: stack.append(paths.get(id(m), stack[-1]))),
            hooks.register_module_forward_hook(lambda m, args, output: (stack.pop(), None)[1], always_call=True),
        ]
        try:
            with _Mode(self, stack):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def operators(self) -> set[str]:
        """Names of the operators that are concerned."""
        return {key[0] for key in self._kept}

    def over(self, key: Any, order: int, shape: Sequence[int]) -> _Over | None:
        """What the statistic of this call is taken over; None where it is as ever.

        Raises:
            OtherSizeError: the trace has not seen it over so many channels.
        """
        orders = self._kept.get(key)
        if orders is None:
            return None
        alike = len({(size, _told(over)) for size, over in orders.values()}) == 1
        if not alike and order not in orders:
            raise OtherSizeError
        size, over = orders[0 if alike else order]
        if over is not None and _positions(over, shape, size) != size:
            raise OtherSizeError
        return over


def _told(over: _Over | None) -> Any:
    return None if over is None else (over[0], over[1].tobytes())


def _positions(over: _Over, shape: Sequence[int], size: int) -> int:
    """How many channels a statistic runs over; of a layer norm, those of as many last dimensions as make the size."""
    if over[0] is not None:
        return int(shape[over[0]])
    total = 1
    for n in reversed(shape):
        if total >= size:
            break
        total *= n
    return total


class _Mode(DispatchMode):
    """Sees every operator and takes the statistics that are booked in another way."""

    def __init__(self, statistics: KeptStatistics, stack: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._statistics, self._stack, self._operators = statistics, stack, statistics.operators()
        self._orders: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = operator_name(func), kwargs or {}
        if name not in self._operators or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        key = (name, self._stack[-1], calling_place())
        over = self._statistics.over(key, self._orders[key], args[0].shape)
        self._orders[key] += 1
        if over is None:
            return func(*args, **kwargs)
        axis, index = over[0], torch.from_numpy(over[1]).to(args[0].device)
        if name == "native_group_norm":
            return _group_norm(func, args, kwargs, index)
        if axis is None:
            return _layer_norm(func, args, kwargs, index)
        result = func(args[0].index_select(axis, index), *args[1:], **kwargs)
        if name in STATISTICS:
            return result
        return (torch.zeros_like(args[0]).index_copy(axis, index, result[0]), *result[1:])


def _layer_norm(func: Any, args: Any, kwargs: Mapping[str, Any], index: Tensor) -> Any:
    x, width = args[0], len(args[1])
    flat = x.reshape(*x.shape[: x.ndim - width], -1)
    sides = [a.reshape(-1)[index] if isinstance(a, Tensor) else a for a in args[2:]]
    result = func(flat[..., index], [len(index)], *sides, **kwargs)
    first = result[0] if isinstance(result, tuple) else result
    spread = torch.zeros_like(flat).index_copy(-1, index, first).reshape(x.shape)
    return (spread, *result[1:]) if isinstance(result, tuple) else spread


def _group_norm(func: Any, args: Any, kwargs: Mapping[str, Any], index: Tensor) -> Any:
    x, weight, bias, batch, channels, positions, groups, eps = args
    if groups == channels:
        return func(*args, **kwargs)
    sides = [None if a is None else a[index] for a in (weight, bias)]
    result = func(x.index_select(1, index).contiguous(), *sides, batch, len(index), positions, groups, eps, **kwargs)
    return (torch.zeros_like(x).index_copy(1, index, result[0]), *result[1:])
