"""Features of single clips put together as a run on the whole batch would have given them.

A tapped module may run several times in a forward pass (on the reference, then on the distorted clip), and each call
may give several rows a clip (its frames). How the rows of a batch then follow each other is the network's own affair,
so it is found out by comparison: two clips alone, and the same two together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Where the axis of the clips goes in (calls, rows).
ORDERS = {
    "calls": 1,  # (calls, clips, rows): each call goes over all clips, and the rows of a clip stay together
    "clips": 0,  # (clips, calls, rows): the network loops over the clips
    "rows": 2,  # (calls, rows, clips): rows are outside, as where reference and distorted are concatenated
}


def join(clips: Sequence[Tensor], order: str = "calls") -> Tensor:
    """The features of a batch, (N calls rows, C, ...), from those of its N clips, each (calls, rows, C, ...).

    >>> first, second = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[3.0]], [[4.0]]])  # two calls, one row
    >>> join([first, second]).flatten(), join([first, second], "clips").flatten()
    (tensor([1., 3., 2., 4.]), tensor([1., 2., 3., 4.]))
    """
    return torch.stack(list(clips)).movedim(0, ORDERS[order]).flatten(0, 2)


def find_order(clips: Sequence[Tensor], together: Tensor, *, tolerance: float) -> tuple[str | None, bool]:
    """The order in which `join` gives `together`, and whether that is certain.

    Args:
        clips: features of the clips alone, each (calls, rows, C, ...).
        together: features of the same clips as one batch.
        tolerance: largest difference, as a share of the largest value.

    Returns:
        None where no order does: the clips of a batch influence each other. Not certain where several orders do equally
        well because the clips hardly differ; any of them then does for this batch.
    """
    if len(together) != len(clips) * clips[0].shape[0] * clips[0].shape[1]:
        return None, True
    errors = {order: float((join(clips, order) - together).abs().max()) for order in ORDERS}
    best = min(errors, key=lambda order: errors[order])
    if not errors[best] <= tolerance * max(float(together.abs().max()), 1e-12):
        return None, True
    rivals = [order for order in ORDERS if order != best and not torch.equal(_rows(clips, order), _rows(clips, best))]
    return best, all(errors[order] > 10 * errors[best] and errors[order] > 0 for order in rivals)


def _rows(clips: Sequence[Tensor], order: str) -> Tensor:
    """Which row comes where."""
    count = clips[0].shape[0] * clips[0].shape[1]
    numbers = torch.arange(len(clips) * count).view(len(clips), *clips[0].shape[:2])
    return join(list(numbers), order)
