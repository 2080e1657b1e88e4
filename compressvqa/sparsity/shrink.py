"""The two maps that make weights exactly zero, on lists of tensors and in place.

Both are applied after a base step ``u = x - a * d`` (for plain SGD, d is the gradient g), with threshold
``t = a * lambda``. Equations after OBProx-SG (Chen et al., ECML-PKDD 2020, arXiv 2004.03639, algorithms 2 and 3).
Every operation is one call over the whole list, so there is no mask and no loop over tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from compressvqa.torch_private import foreach


def soft_threshold(u: Tensor, threshold: float) -> Tensor:
    """The proximal map of ``threshold * ||x||_1``: ``sign(u) * max(|u| - threshold, 0)``, elementwise.

    It is the x that minimises ``(x - u)^2 / 2 + threshold * |x|``. Any shape, `threshold` >= 0.

    >>> import torch
    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    result = u.clone()
    soft_threshold_([result], [threshold])
    return result


def soft_threshold_(tensors: Sequence[Tensor], thresholds: Sequence[float]) -> None:
    """`soft_threshold` in place, one threshold a tensor."""
    xs = list(tensors)
    # u - clip(u, -t, t) is the same map: exactly 0 inside [-t, t], and a NaN stays a NaN.
    clipped = foreach.clamp_max(xs, list(thresholds))
    foreach.clamp_min_(clipped, [-threshold for threshold in thresholds])
    foreach.sub_(xs, clipped)


def orthant_step(u: Tensor, sign: Tensor, threshold: float, eps: float = 0.0) -> Tensor:
    """Shrinks by `threshold` and keeps only what stays in the orthant `sign` (values -1, 0, 1, the shape of `u`).

    With ``h = u - threshold * sign`` the result is h where ``h * sign > eps`` and 0 elsewhere, so a weight that was
    zero stays zero, and one that would change its sign becomes zero.

    >>> import torch
    >>> u, sign = torch.tensor([-3.0, 0.5, 2.0, 9.0]), torch.tensor([-1.0, -1.0, 1.0, 0.0])
    >>> orthant_step(u, sign, 1.0) + 0.0
    tensor([-2.,  0.,  1.,  0.])
    """
    result = u.clone()
    orthant_step_([result], [sign], [threshold], eps)
    return result


def orthant_step_(
    tensors: Sequence[Tensor], signs: Sequence[Tensor], thresholds: Sequence[float], eps: float = 0.0
) -> None:
    """`orthant_step` in place, one threshold a tensor. Zeros may carry a minus sign."""
    xs, zs = list(tensors), list(signs)
    foreach.mul_(xs, zs)
    foreach.sub_(xs, list(thresholds))  # now h * sign: the distance into the orthant
    if eps == 0:
        foreach.clamp_min_(xs, 0.0)
        foreach.mul_(xs, zs)
        return
    # Above eps a weight is kept as it is and below it is cut, so clipping would not do: multiply by a 0/1 indicator.
    kept = foreach.sub(xs, eps)
    foreach.sign_(kept)
    foreach.clamp_min_(kept, 0.0)
    foreach.mul_(kept, zs)
    foreach.mul_(xs, kept)
