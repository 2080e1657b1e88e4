"""Labels of channels, and the classes of labels that must be cut together.

Every index along every dimension of every parameter and float buffer (a *slot*) has a number, its label. A tensor that
flows through the network carries *per_axis*: small integer arrays that say, element by element, with which slot an
element disappears. Operators that tie channels unite labels; a class of united labels is one removable channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

FIXED = 0  # an element that is always there
FREE = -1  # a constant that takes whatever size its partner has
MERGED = "they are merged with other channels"
_PIECE = 1 << 16


@dataclass(eq=False)  # a frozen one takes three times as long to make
class AxisLabels:
    """Labels of a tensor's elements along the dimensions in which they differ.

    Args:
        ids: array with as many dimensions as the tensor; size 1 where the labels do not differ.
        zero: whether an element is exactly zero once every slot of its class is zero.
    """

    ids: Ids
    zero: bool

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Dimensions along which the labels differ."""
        return tuple(d for d, size in enumerate(self.ids.shape) if size > 1)


@dataclass(eq=False)  # a frozen one takes three times as long to make
class ChannelLabels:
    """What is known about the channels of one value.

    Args:
        shape: the value's size.
        per_axis: at most one for each set of dimensions; a value element goes when any of its per_axis' labels goes.
        free: dimensions whose size follows its partners (a broadcast copy, a tensor of zeros).
        weight: whether it comes from parameters and buffers only.
        merged: labels along dimensions in which others lie as well, as of `weight.view(experts, -1)`. Few operators
            carry them; a view that takes the dimensions apart again makes them `per_axis`, and any other operator
            that meets them keeps their channels.
    """

    shape: tuple[int, ...]
    per_axis: tuple[AxisLabels, ...] = ()
    free: frozenset[int] = frozenset()
    weight: bool = False
    merged: tuple[AxisLabels, ...] = ()


@dataclass(frozen=True)
class Slots:
    """The numbering of slots: index `i` of dimension `d` of leaf `name` has the label `first[name][d] + i`."""

    names: list[str]
    first: dict[str, list[int]]
    leaf: Ids  # for each label, the leaf's number
    dim: Ids  # for each label, the dimension

    @classmethod
    def of(cls, shapes: dict[str, tuple[int, ...]]) -> Slots:
        """Numbers the slots of leaves with these shapes, from 1 on."""
        first: dict[str, list[int]] = {}
        leaves, dims, sizes, at = [-1], [-1], [1], 1
        for number, (name, shape) in enumerate(shapes.items()):
            first[name] = []
            for d, size in enumerate(shape):
                first[name].append(at)
                leaves.append(number)
                dims.append(d)
                sizes.append(size)
                at += size
        return cls(list(shapes), first, np.repeat(leaves, sizes), np.repeat(dims, sizes))

    def __len__(self) -> int:
        """One more than the largest label."""
        return len(self.leaf)

    def labels_of(self, leaf: str | None, shape: tuple[int, ...]) -> ChannelLabels:
        """The labels of a tensor that no operator made: those of a leaf's slots, none for anything else."""
        if leaf is None:
            return ChannelLabels(shape)
        long = [d for d, size in enumerate(shape) if size > 1]
        per_axis = tuple(AxisLabels(self.axis_labels(leaf, shape, d), True) for d in long)
        return ChannelLabels(shape, per_axis, weight=True)

    def axis_labels(self, name: str, shape: tuple[int, ...], d: int) -> Ids:
        """Labels of one dimension of a leaf, laid out along that dimension."""
        ids = np.arange(self.first[name][d], self.first[name][d] + shape[d], dtype=np.int64)
        return ids.reshape([shape[d] if k == d else 1 for k in range(len(shape))])


@dataclass
class Classes:
    """Union-find over labels. FIXED and FREE are no labels and are their own root.

    `parent` has one place more than there are labels, which holds FREE: FREE is -1, so it indexes the last place.
    """

    parent: Ids
    unions: int = 0
    ties: dict[int, list[int]] = field(default_factory=dict)  # operator number -> a label that it tied
    _flat: bool = True  # whether every label hangs directly below its root
    _scratch: Ids = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._scratch = np.empty_like(self.parent)

    @classmethod
    def of(cls, count: int) -> Classes:
        """Every label alone."""
        return cls(np.append(np.arange(count, dtype=np.int64), FREE))

    def find(self, ids: Ids) -> Ids:
        """The root of every label, same shape."""
        if not self._flat and ids.size >= len(self.parent):
            self.compress()
        root: Ids = self.parent[ids]
        while not self._flat:
            up = self.parent[root]
            if np.array_equal(up, root):
                break
            root = up
        return root

    def unite(self, a: Ids, b: Ids) -> bool:
        """Unites the labels at equal positions of two arrays of one shape; FIXED and FREE are passed over."""
        before, a, b = self.unions, a.ravel(), b.ravel()
        # Piece by piece: what the first pieces have united need not be sorted again in the later ones.
        for start in range(0, a.size, _PIECE):
            self._unite(self.find(a[start : start + _PIECE]), self.find(b[start : start + _PIECE]))
        return self.unions > before

    def _unite(self, ra: Ids, rb: Ids) -> None:
        differ = (ra > 0) & (rb > 0) & (ra != rb)
        if not differ.any():
            return
        left, right = ra[differ], rb[differ]
        if self._apart(left, right):
            self.parent[right] = left
            self.unions += len(right)
            self._flat = False
            return
        codes = np.unique(ra[differ] * len(self.parent) + rb[differ])
        pairs = np.stack([codes // len(self.parent), codes % len(self.parent)])
        for left, right in (pairs, pairs[::-1]):
            # Roots that hang below others at once: each hangs once, and nothing hangs below a root that hangs.
            if len(np.unique(right)) == len(right) and not np.isin(left, right).any():
                self.parent[right] = left
                self.unions += len(right)
                self._flat = False
                return
        for a, b in pairs.T.tolist():
            x, y = self._root(a), self._root(b)
            if x != y:
                self.parent[y] = x
                self.unions += 1
                self._flat = False

    def _apart(self, left: Ids, right: Ids) -> bool:
        """Whether the right ones are all different and none is among the left ones, found without sorting."""
        order = np.arange(len(right))
        self._scratch[left] = -1
        self._scratch[right] = order
        return bool((self._scratch[right] == order).all() and (self._scratch[left] == -1).all())

    def _root(self, label: int) -> int:
        parent = self.parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = int(parent[label])
        return label

    def compress(self) -> None:
        """Hangs every label directly below its root."""
        while not self._flat:
            up = self.parent[self.parent]
            self._flat = bool(np.array_equal(up, self.parent))
            self.parent = up
