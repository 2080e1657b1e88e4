"""Where a tensor stands inside a larger one: the positions that were kept along each dimension, from values alone.

A value that stands once in the larger tensor says where its row and its column were. Where values repeat (16-bit
weights, zeros, norms as they are built), whole rows and columns are compared instead, each along what is known of the
others, until nothing new is found. What is still open then has equals that the values can't tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CORNERS = 6  # elements that are tried as the one whose value stands once
_SEEDS = 48  # places of a repeated value that a search without any unique value begins at
_VOTES = 64  # columns that decide which row a row was

Positions = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tensor stands in a larger one.

    Args:
        kept: for each dimension, the position in the larger tensor of every index of the smaller one, (n,) int64.
        size: the shape of the larger tensor.
        open: dimensions in which other positions hold the same values, so that `kept` is one choice of several.
    """

    kept: Positions
    size: tuple[int, ...]
    open: frozenset[int] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether nothing went and nothing moved."""
        return all(torch.equal(k, torch.arange(n)) for k, n in zip(self.kept, self.size, strict=True))

    @property
    def cut(self) -> tuple[int, ...]:
        """Dimensions that lost positions."""
        return tuple(d for d, (k, n) in enumerate(zip(self.kept, self.size, strict=True)) if len(k) < n)

    def gone(self, d: int) -> tuple[int, ...]:
        """Positions of a dimension that went, in order."""
        left = torch.ones(self.size[d], dtype=torch.bool)
        left[self.kept[d]] = False
        return tuple(left.nonzero().flatten().tolist())

    def of(self, tensor: Tensor) -> Tensor:
        """The kept block of a tensor of the larger size."""
        return block(tensor, self.kept)

    def replaced(self, d: int, kept: Tensor) -> Place:
        """The same place with other positions in one dimension, which is open no more."""
        positions = tuple(kept if k == d else old for k, old in enumerate(self.kept))
        return Place(positions, self.size, self.open - {d})


def block(tensor: Tensor, kept: Positions) -> Tensor:
    """The part of a tensor that stands at these positions of its dimensions."""
    for d, positions in enumerate(kept):
        if len(positions) != tensor.shape[d] or not torch.equal(positions, torch.arange(tensor.shape[d])):
            tensor = tensor.index_select(d, positions.to(tensor.device))
    return tensor


def locate(large: Tensor, small: Tensor) -> Place | None:
    """Where `small` stands in `large`, or None if it is no block of it. Values are compared bit by bit.

    >>> place = locate(torch.arange(12.0).view(3, 4), torch.tensor([[8.0, 11.0]]))
    >>> [positions.tolist() for positions in place.kept]
    [[2], [0, 3]]
    >>> locate(torch.arange(12.0).view(3, 4), torch.tensor([[8.0, 7.0]])) is None
    True
    """
    a, b = _bits(large), _bits(small)
    if a.ndim != b.ndim or a.dtype != b.dtype or any(n < m for n, m in zip(a.shape, b.shape, strict=True)):
        return None
    whole = tuple(torch.arange(n) for n in a.shape)
    if a.shape == b.shape and torch.equal(a, b):
        return Place(whole[: large.ndim], tuple(large.shape))
    if not b.numel() or not b.ndim:
        return None
    if not _may_hold(a, b):
        return None
    sure = _by_corner(a, b)
    kept = sure or _refined(a, b, _by_values(a, b))
    if kept is None or not torch.equal(block(a, kept), b):
        return None
    opened = [] if sure else _open(a, kept)
    # The real and the imaginary part of complex values are no dimension of the tensor.
    return Place(kept[: large.ndim], tuple(large.shape), frozenset(d for d in opened if d < large.ndim))


def _bits(tensor: Tensor) -> Tensor:
    """The values as integers, so that they are compared exactly and can be hashed."""
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    tensor = tensor.contiguous() if tensor.is_floating_point() else tensor.contiguous().long()
    return tensor.view(kinds[tensor.element_size()]).long()


def _may_hold(a: Tensor, b: Tensor) -> bool:
    """Whether some values of the smaller tensor stand in the larger one at all."""
    return all(bool((a == b.flatten()[pick]).any()) for pick in _picks(b))


def _picks(tensor: Tensor) -> list[int]:
    """A few of a tensor's elements, by their place in it."""
    return sorted(set(torch.linspace(0, tensor.numel() - 1, _CORNERS).long().tolist()))


def _by_corner(a: Tensor, b: Tensor) -> Positions | None:
    """From one element whose value stands once, and the lines through it; None where a line holds a value twice."""
    for pick in _picks(b):
        here = [int(i) for i in torch.unravel_index(torch.tensor(pick), b.shape)]
        places = (a == b[tuple(here)]).nonzero()
        if len(places) != 1:
            continue
        there = places[0].tolist()
        found = []
        for d in range(b.ndim):
            line = b[tuple(slice(None) if k == d else here[k] for k in range(b.ndim))]
            longer = a[tuple(slice(None) if k == d else there[k] for k in range(b.ndim))]
            positions, counts = _matches(longer, line.contiguous())
            if not bool((counts == 1).all()):
                break
            found.append(positions)
        else:
            return tuple(found)
    return None


def _matches(longer: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """For each value of a line, its first position in a longer one, and at how many it stands."""
    values, order = torch.sort(longer, stable=True)
    low, high = torch.searchsorted(values, line), torch.searchsorted(values, line, right=True)
    return order[low.clamp(max=len(order) - 1)], high - low


def _by_values(a: Tensor, b: Tensor) -> Positions | None:
    """What the values say that stand once: positions along each dimension, -1 where they say nothing.

    None where the smaller tensor can't be a block: a value is missing, or two values contradict each other.
    """
    positions, counts = _matches(a.flatten(), b.flatten())
    if bool((counts == 0).any()):
        return None
    sure = (counts == 1).nonzero().flatten()
    here, there = torch.unravel_index(sure, b.shape), torch.unravel_index(positions[sure], a.shape)
    known = []
    for d in range(b.ndim):
        k = torch.full((b.shape[d],), -1)
        k[here[d]] = there[d]
        if not torch.equal(k[here[d]], there[d]):
            return None
        known.append(k)
    return tuple(known)


def _refined(a: Tensor, b: Tensor, known: Positions | None) -> Positions | None:
    """Compares rows and columns along what is known until all is known; equals are taken in order."""
    if known is None:
        return None
    found = [k.clone() for k in known]
    assumed = [d for d in range(b.ndim) if a.shape[d] == b.shape[d]]  # most likely nothing went there
    if any((k < 0).all() for d, k in enumerate(found) if d not in assumed):
        _seed(a, b, found, assumed)
    for choose in (False, True):
        moved = True
        while moved and any((k < 0).any() for k in found):
            moved = False
            for d in range(b.ndim):
                others = [_usable(found[e], a.shape[e], e in assumed) for e in range(b.ndim) if e != d]
                if (found[d] < 0).any() and (choose or all(len(here) for here, _ in others)):
                    moved |= _along(a, b, found, d, others, choose)
    return None if any((k < 0).any() for k in found) else tuple(found)


def _open(a: Tensor, kept: Positions) -> list[int]:
    """Dimensions in which a position that went holds, along what was kept of the others, what a kept one holds."""
    found = []
    for d, positions in enumerate(kept):
        if len(positions) < a.shape[d]:
            codes = hashes(block(a, tuple(torch.arange(a.shape[d]) if e == d else k for e, k in enumerate(kept))), d)
            went = torch.ones(len(codes), dtype=torch.bool)
            went[positions] = False
            if bool(torch.isin(codes[went], codes[positions]).any()):
                found.append(d)
    return found


def _usable(known: Tensor, size: int, assumed: bool) -> tuple[Tensor, Tensor]:
    """Indices of the smaller tensor whose position is known, and the positions."""
    if assumed and (known < 0).all():
        return torch.arange(size), torch.arange(size)
    here = (known >= 0).nonzero().flatten()
    return here, known[here]


def _along(
    a: Tensor,
    b: Tensor,
    found: list[Tensor],
    d: int,
    others: list[tuple[Tensor, Tensor]],
    choose: bool,
) -> bool:
    """Finds positions along one dimension by comparing slices; with `choose`, of more equals the first are taken."""
    here, there = [o[0] for o in others], [o[1] for o in others]
    here.insert(d, torch.arange(b.shape[d]))
    there.insert(d, torch.arange(a.shape[d]))
    complete = [len(h) for h in here] == list(b.shape)
    small, large = hashes(block(b, tuple(here)), d), hashes(block(a, tuple(there)), d)
    before = int((found[d] < 0).sum())
    free = torch.ones(len(large), dtype=torch.bool)
    free[found[d][found[d] >= 0]] = False
    places: dict[int, list[int]] = {}
    for position in free.nonzero().flatten().tolist():
        places.setdefault(int(large[position]), []).append(position)
    wanted: dict[int, list[int]] = {}
    for index in (found[d] < 0).nonzero().flatten().tolist():
        wanted.setdefault(int(small[index]), []).append(index)
    for value, indices in wanted.items():
        equals = places.get(value, [])
        # Whole slices that are equal, as many as are looked for: all of them were kept, in whatever order.
        sure = len(equals) == len(indices) and (complete or len(indices) == 1)
        if len(equals) < len(indices) or not (sure or choose):
            continue
        found[d][torch.tensor(indices)] = torch.tensor(sorted(equals[: len(indices)]))
    return int((found[d] < 0).sum()) < before


def hashes(tensor: Tensor, d: int) -> Tensor:
    """(n,) one number for each slice along a dimension: equal for equal slices, different for all others."""
    rows = tensor.movedim(d, 0).reshape(tensor.shape[d], -1)
    generator = torch.Generator().manual_seed(rows.shape[1])
    factors = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator) | 1
    return (rows * factors).sum(1)


def _seed(a: Tensor, b: Tensor, found: list[Tensor], assumed: list[int]) -> None:
    """A start where no value stands once in two dimensions that both lost something, as in 16-bit linear layers.

    The dimensions that lost nothing are hashed away. If no hash stands once either, the order of positions is taken to
    be kept: a row that begins at one place of a rare value gives the columns, these give all rows by a vote, and the
    rows give the columns anew.
    """
    lost = [d for d in range(b.ndim) if d not in assumed]
    if len(lost) != 2:
        return
    (m0, m1), (n0, n1) = ([t.shape[d] for d in lost] for t in (b, a))
    small = hashes(b.movedim(lost, [0, 1]).reshape(m0 * m1, -1), 0).view(m0, m1)
    large = hashes(a.movedim(lost, [0, 1]).reshape(n0 * n1, -1), 0).view(n0, n1)
    _, counts = _matches(large.flatten(), small.flatten())
    if bool((counts == 0).any()):
        return
    if bool((counts == 1).any()):
        known = _by_values(large, small)
        if known is not None:
            for d, k in zip(lost, known, strict=True):
                found[d] = torch.where(found[d] < 0, k, found[d])
        return
    rarest = int(counts.argmin())
    if int(counts[rarest]) > _SEEDS:
        return
    row = rarest // m1
    for place in (large == small.flatten()[rarest]).nonzero().tolist():
        columns = _in_order(small[row].tolist(), large[place[0]].tolist())
        if columns is None:
            continue
        rows = _vote(large[:, columns], small)
        columns = _vote(large[rows].T, small.T)
        rows = _vote(large[:, columns], small)
        if torch.equal(large[rows][:, columns], small):
            found[lost[0]], found[lost[1]] = rows, columns
            return


def _in_order(line: list[int], longer: list[int]) -> Tensor | None:
    """The first rising choice of positions that gives a line; None without one."""
    chosen, at = [], 0
    for value in line:
        while at < len(longer) and longer[at] != value:
            at += 1
        if at == len(longer):
            return None
        chosen.append(at)
        at += 1
    return torch.tensor(chosen)


def _vote(large: Tensor, small: Tensor) -> Tensor:
    """For each row of `small` the row of `large` that agrees with it at most of the columns."""
    columns = torch.linspace(0, small.shape[1] - 1, min(_VOTES, small.shape[1])).long()
    agreed = torch.zeros(len(small), len(large), dtype=torch.int16)
    for column in columns.tolist():
        agreed += small[:, column, None] == large[None, :, column]
    return agreed.argmax(1)
