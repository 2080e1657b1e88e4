"""Ranks with a gradient: projection onto the permutahedron."""

from __future__ import annotations

import torch
from torch import Tensor

from compressvqa.errors import TrainingError


def soft_rank(values: Tensor, strength: float = 1.0) -> Tensor:
    r"""Ranks 1 (lowest) to N (highest) that follow the values softly; exact ranks where the values are far apart.

    :math:`P(v / \epsilon)`, the point of the permutahedron (the convex hull of all orders of 1..N) nearest to the
    values over `strength` (Blondel et al., "Fast differentiable sorting and ranking", ICML 2020, equations (5) and (6),
    quadratic form). Its sum is always N (N + 1) / 2, and equal values get equal ranks, the mean of those they share.
    Values whose neighbours are all at least `strength` apart get exactly their ranks, so it is exact in the limit of
    small strength already at a positive one; where the strength is large, the result is v / strength plus a constant.

    The projection is an isotonic regression. Within a block of merged values the result is linear, so that the gradient
    of autograd is the exact one; values that stand alone have none.

    Args:
        values: (N,), N >= 1, real.
        strength: epsilon > 0, in units of the values.

    >>> soft_rank(torch.tensor([0.1, 5.0, 2.0])), soft_rank(torch.tensor([0.0, 0.5]))
    (tensor([1., 3., 2.]), tensor([1.2500, 1.7500]))
    """
    if values.ndim != 1 or len(values) == 0:
        raise TrainingError(f"values must have the shape (N,), not {tuple(values.shape)}")
    if not strength > 0:
        raise TrainingError(f"the strength is {strength!r} and must be positive")
    scaled = values / strength
    order = scaled.argsort(descending=True)
    excess = scaled[order] - torch.arange(len(values), 0, -1, device=values.device, dtype=scaled.dtype)
    sizes = torch.tensor(_blocks(excess.tolist()), device=values.device)
    blocks = torch.arange(len(sizes), device=values.device).repeat_interleave(sizes)
    means = torch.zeros(len(sizes), device=values.device, dtype=scaled.dtype).index_add(0, blocks, excess) / sizes
    return scaled - means[blocks][order.argsort()]


def _blocks(values: list[float]) -> list[int]:
    """Lengths of the runs that the nearest falling sequence is constant on (pool adjacent violators)."""
    pooled: list[tuple[float, int]] = []  # (mean, length), the means falling
    for value in values:
        mean, length = value, 1
        while pooled and pooled[-1][0] <= mean:
            before, count = pooled.pop()
            mean, length = (before * count + mean * length) / (count + length), count + length
        pooled.append((mean, length))
    return [length for _, length in pooled]
