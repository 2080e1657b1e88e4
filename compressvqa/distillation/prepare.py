"""What every loss does first: looks at the shapes, cuts the teacher off the graph, widens half precision."""

from __future__ import annotations

import torch
from torch import Tensor

from compressvqa.errors import TrainingError

FLOOR = 1e-6
"""Deviations below this share of the values' size (of 1, for small values) are rounding, not spread."""


def score_pair(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Two (N,) tensors of scores, in float32 (float64 for float64 scores of the student), the teacher detached.

    Raises:
        TrainingError: other shapes, or no scores.
    """
    if teacher.ndim != 1 or teacher.shape != student.shape or teacher.numel() == 0:
        shapes = f"{tuple(teacher.shape)} and {tuple(student.shape)}"
        raise TrainingError(f"teacher and student must be two (N,) tensors of scores, not {shapes}")
    return _wide(teacher, student)


def logit_pair(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Two (N, C) tensors of logits; (N,) scores become one row, (1, N). Otherwise like `score_pair`."""
    if teacher.ndim not in (1, 2) or teacher.shape != student.shape or teacher.numel() == 0:
        shapes = f"{tuple(teacher.shape)} and {tuple(student.shape)}"
        raise TrainingError(f"teacher and student must be two (N, C) tensors of logits or (N,) of scores, not {shapes}")
    return _wide(teacher.reshape(-1, teacher.shape[-1]), student.reshape(-1, student.shape[-1]))


def feature_pair(
    teacher: Tensor, student: Tensor, *, any_width: bool = False, any_shape: bool = False
) -> tuple[Tensor, Tensor]:
    """Two maps (N, C, ...), channels second, otherwise like `score_pair`.

    Args:
        any_width: the number of channels may differ.
        any_shape: all but the number of items may differ.

    Raises:
        TrainingError: the shapes can't be compared.
    """
    fits = min(teacher.ndim, student.ndim) >= 2 and teacher.numel() > 0 and student.numel() > 0
    fits = fits and teacher.shape[0] == student.shape[0]
    if not any_shape:
        fits = fits and teacher.ndim == student.ndim and teacher.shape[2:] == student.shape[2:]
        fits = fits and (any_width or teacher.shape[1] == student.shape[1])
    if not fits:
        shapes = f"{tuple(teacher.shape)} and {tuple(student.shape)}"
        raise TrainingError(f"teacher and student maps {shapes} can't be compared")
    return _wide(teacher, student)


def standardise(values: Tensor) -> Tensor:
    """Zero mean and unit deviation along the last axis (the deviation of a population, divided by n).

    Values without spread, a single one or all equal, are only centred: they become 0, and their gradient stays that of
    the centring instead of growing without bound.

    >>> standardise(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
    tensor([[-1.,  1.],
            [ 0.,  0.]])
    """
    centred = values - values.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    floor = FLOOR * values.detach().abs().amax(-1, keepdim=True).clamp_min(1)
    # The root of 0 has no gradient, not even one that `where` then throws away: replace the argument, not the result.
    return centred / torch.where(variance > floor**2, variance, torch.ones_like(variance)).sqrt()


def _wide(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if student.dtype == torch.float64 else torch.float32
    return teacher.detach().to(wide), student.to(wide)
