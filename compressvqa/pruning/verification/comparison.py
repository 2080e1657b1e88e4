"""How far two networks' answers are apart, measured against how far the answers move between inputs.

An output may be a large number that hardly moves: a share of its size would hide a mistake, a share of its movement
does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

STILL = 1e-10  # of an output's size; what moves less does not move


def movement(answers: Sequence[Sequence[Tensor]]) -> list[float]:
    """How far each output moves between inputs: the largest change of an element, 0 where it stands still.

    Args:
        answers: of one network, on several inputs of the same sizes.
    """
    found = []
    for outputs in zip(*answers, strict=False):
        first = outputs[0]
        if not _counts(first):
            found.append(0.0)
            continue
        changes = [float((other - first).abs().max()) for other in outputs[1:] if other.shape == first.shape]
        most, size = max(changes, default=0.0), float(first.abs().max())
        found.append(most if math.isfinite(most) and most > STILL * size else 0.0)
    return found


def difference(found: Sequence[Tensor], expected: Sequence[Tensor], moves: Sequence[float]) -> float:
    """Largest difference of two networks' answers to the same inputs, relative to the movement of each output.

    An output that does not move, or is no number, must be the same but for rounding; infinite where it is not, and
    where sizes differ or only one of the two is finite.
    """
    if [t.shape for t in found] != [t.shape for t in expected]:
        return math.inf
    worst = 0.0
    for a, b, moved in zip(found, expected, moves, strict=True):
        if not b.numel():
            continue
        if not (a.is_floating_point() or a.is_complex()):
            worst = max(worst, 0.0 if torch.equal(a, b) else math.inf)
            continue
        finite = torch.isfinite(b)
        if not torch.equal(torch.isfinite(a), finite):
            return math.inf
        gap = float((a - b)[finite].abs().max()) if bool(finite.any()) else 0.0
        size = float(b[finite].abs().max()) if bool(finite.any()) else 0.0
        if moved:
            worst = max(worst, gap / moved)
        elif gap > 1e-6 * size:
            worst = math.inf
    return worst


def all_finite(answers: Sequence[Tensor]) -> bool:
    """Whether every number of the answers is one."""
    return all(bool(torch.isfinite(t).all()) for t in answers if _counts(t))


def _counts(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and bool(tensor.numel())
