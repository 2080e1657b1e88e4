"""What was removed, from the values alone: which elements of the original's tensors are left in the smaller network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Kept = dict[str, Tensor]  # name of a tensor that lost something: for each element whether it is left


_LARGE = 2**17  # elements from which on rows are looked for first, which is faster


class UnjudgedError(Exception):
    """It can't be told what was removed."""


def everything_kept(original: nn.Module, smaller: nn.Module) -> Kept:
    """The parameters and buffers that lost elements.

    What is gone altogether (a module that nothing reads) is left out: the original keeps it, and the outputs must show
    that it does not matter. A buffer whose values don't tell its elements apart is left whole in the original: what it
    adds to a channel without readers changes nothing.

    Raises:
        UnjudgedError: a parameter holds values that the original does not.
    """
    kept: Kept = {}
    after = dict(smaller.named_parameters(remove_duplicate=False))
    for name, tensor in original.named_parameters(remove_duplicate=False):
        if name in after and not _same(tensor, after[name]):
            kept[name] = kept_elements(tensor.detach(), after[name].detach(), name)
    after_buffers = dict(smaller.named_buffers(remove_duplicate=False))
    for name, tensor in original.named_buffers(remove_duplicate=False):
        if name in after_buffers and tensor.is_floating_point() and tensor.shape != after_buffers[name].shape:
            try:
                kept[name] = kept_elements(tensor, after_buffers[name], name)
            except UnjudgedError:
                continue
    return kept


def kept_elements(before: Tensor, after: Tensor, name: str = "a tensor") -> Tensor:
    """For each element of `before` whether it is in `after`.

    Raises:
        UnjudgedError: `after` holds other values, or values that stand in `before` twice.

    >>> kept_elements(torch.arange(4.0).view(2, 2), torch.tensor([[3.0]])).tolist()
    [[False, False], [False, True]]
    """
    if before.is_complex():
        before, after = torch.view_as_real(before)[..., 0], torch.view_as_real(after)[..., 0]
    if before.numel() > _LARGE and before.ndim == after.ndim and before.ndim > 1:
        try:
            return _block(before, after, name)
        except UnjudgedError:
            pass  # no block, or an ambiguous one: its elements may tell
    values, order = before.flatten().sort()
    wanted = after.flatten()
    if len(wanted) > len(values):
        raise UnjudgedError(f"{name} is {tuple(after.shape)}, no part of {tuple(before.shape)}")
    place = torch.searchsorted(values, wanted).clamp(max=len(values) - 1)
    if not torch.equal(values[place], wanted):
        raise UnjudgedError(f"{name} holds values that the original does not")
    kept = torch.zeros(len(values), dtype=torch.bool)
    kept[order[place]] = True
    if int(kept.sum()) == len(wanted):
        return kept.view(before.shape)
    return _block(before, after, name)


def _block(before: Tensor, after: Tensor, name: str) -> Tensor:
    """The same for a large tensor, whose values may not all be distinct: `after` is looked for row by row.

    Raises:
        UnjudgedError: it is not a block, or may be more than one.
    """
    doubt = UnjudgedError(f"{name} has equal values, which can't be told apart")
    if before.ndim != after.ndim or before.ndim < 2:
        raise doubt
    for corner in (before == after[(0,) * after.ndim]).nonzero().tolist()[:50]:
        rows, several = [], []
        for d in range(before.ndim):
            fibre = before[tuple(slice(None) if k == d else corner[k] for k in range(before.ndim))]
            wanted = after[tuple(slice(None) if k == d else 0 for k in range(after.ndim))].contiguous()
            values, order = fibre.sort()
            first = torch.searchsorted(values, wanted).clamp(max=len(values) - 1)
            if not torch.equal(values[first], wanted):
                break
            after_last = torch.searchsorted(values, wanted, right=True)
            rows.append(order[first])
            several += [
                (d, number, order[first[number] : after_last[number]])
                for number in (after_last - first > 1).nonzero().flatten().tolist()
            ]
        else:
            for d, number, candidates in several:  # equal values on that one line; the rest of their slices tells
                rows[d][number] = max(candidates, key=lambda c: _agreement(before, after, rows, d, number, c))
            if any(len(row.unique()) < len(row) for row in rows):
                continue
            part = before
            kept = torch.ones_like(before, dtype=torch.bool)
            for d, row in enumerate(rows):
                part = part.index_select(d, row)
                shape = [-1 if k == d else 1 for k in range(before.ndim)]
                kept &= torch.zeros(before.shape[d], dtype=torch.bool).index_fill(0, row, True).view(shape)
            if torch.equal(part, after):
                return kept
    raise doubt


def _agreement(before: Tensor, after: Tensor, rows: list[Tensor], d: int, number: int, candidate: Tensor) -> int:
    """How many elements of a slice of `after` are those of a slice of `before`, as far as the other lines are known."""
    part = before.select(d, int(candidate))
    for k, row in enumerate(row for other, row in enumerate(rows) if other != d):
        part = part.index_select(k, row)
    return int((part == after.select(d, number)).sum())


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)
