"""Parameters and multiply-accumulates as a function of widths, without running anything.

Both are sums of products: a parameter's size is the product of its dimensions, an operator's work the product of the
dimensions of its product space; each dimension shrinks by the channels cut along it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.group import Group, Slot
from compressvqa.pruning.dependency.trace import Trace

Widths = NDArray[np.int64]
_MAX_DIMS = 8


@dataclass(frozen=True)
class Products:
    """Sum over terms of `factor * product over dimensions of (size - per_channel @ removed channels)`."""

    factors: NDArray[np.float64]  # (terms,)
    sizes: NDArray[np.float64]  # (terms, dims)
    per_channel: NDArray[np.float64]  # (terms * dims, groups)

    def at(self, removed: Widths | NDArray[np.float64]) -> int:
        """The sum when that many channels of each group are gone."""
        rows, per_channel = self._cut
        sizes = self.sizes.copy()
        sizes.reshape(-1)[rows] -= per_channel @ removed
        return round(float(self.factors @ np.multiply.reduce(sizes, axis=1)))

    @cached_property
    def _cut(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The dimensions that any group cuts, few of all: their places among all, and their rows of `per_channel`."""
        rows = np.flatnonzero(self.per_channel.any(axis=1))
        return rows, self.per_channel[rows]


@dataclass(frozen=True)
class NetworkCost:
    """Size and work of a network as a function of its widths.

    Args:
        params: of all parameters, with dead modules left out where they are removed.
        macs: of convolutions, linear layers and products of activations.
        params_before: all parameters of the network as given.
        macs_before: work of the network as given.
    """

    params: Products
    macs: Products
    params_before: int
    macs_before: int

    @classmethod
    def of(cls, trace: Trace, groups: Sequence[Group], *, without: Sequence[str] = ()) -> NetworkCost:
        """The cost of a traced network.

        Args:
            trace: of the network.
            groups: the columns of the widths given to `at`.
            without: paths of modules that are removed.
        """

        def gone(path: str) -> bool:
            return any(path == p or path.startswith(f"{p}.") for p in without)

        names = [n for n in trace.parameters if not gone(trace.owners[n])]
        sizes = [trace.graph.leaves[n].shape for n in names]
        params = _blank(len(names), len(groups))
        row = {n: k for k, n in enumerate(names)}
        for k, shape in enumerate(sizes):
            params.sizes[k, : len(shape)] = shape
        for g, group in enumerate(groups):
            for slot in group.slots:
                if slot.leaf in row:
                    _count(params, row[slot.leaf], slot, trace.graph.leaves[slot.leaf].shape, g)
        before = sum(trace.parameters.values()), sum(c.macs for c in trace.dependencies.costs)
        return cls(params, _macs(trace, groups, gone), *before)


def _count(params: Products, row: int, slot: Slot, shape: tuple[int, ...], group: int) -> None:
    """Books what a group takes of a parameter. Columns that fall with two factors are a product of their own."""
    counts, first = params.per_channel, row * _MAX_DIMS
    if not slot.shared:
        counts[first + slot.dim, group] += slot.indices.shape[1]
        return
    other = next(d for d in (slot.dim, *range(len(shape), _MAX_DIMS)) if not counts[first + d].any())
    counts[first + other, group] = slot.indices.shape[1] * (1 if other == slot.dim else 1 / shape[slot.dim])


def _blank(terms: int, groups: int) -> Products:
    return Products(np.ones(terms), np.ones((terms, _MAX_DIMS)), np.zeros((terms * _MAX_DIMS, groups)))


def _macs(trace: Trace, groups: Sequence[Group], gone: Callable[[str], bool]) -> Products:
    run = trace.dependencies
    costs = [c for c in run.costs if not gone(c.module)]
    products = _blank(len(costs), len(groups))
    group_of = np.full(len(run.slots), -1)
    for g, group in enumerate(groups):
        for slot in (s for s in group.slots if not s.shared):
            group_of[run.classes.find(run.slots.first[slot.leaf][slot.dim] + slot.indices)] = g
    channels = np.array([group.channels for group in groups])
    for k, cost in enumerate(costs):
        products.factors[k] = cost.macs
        for d, labels in enumerate(cost.labels):
            products.factors[k] /= len(labels)
            products.sizes[k, d] = len(labels)
            found = group_of[run.classes.find(labels[labels > 0])]
            counts = np.bincount(found[found >= 0], minlength=len(groups))
            products.per_channel[k * _MAX_DIMS + d] = counts / channels
    return products
