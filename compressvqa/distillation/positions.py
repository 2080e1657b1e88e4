"""Maps of different size side by side: averaged over their positions, or the finer one pooled to the coarser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d

from compressvqa.errors import TrainingError

Positions = Literal["equal", "resize", "mean"]


def match_positions(teacher: Tensor, student: Tensor, how: Positions) -> tuple[Tensor, Tensor]:
    """Two maps (N, C, ...) and (N, D, ...) with the same positions.

    A network that folds the frames of a clip into the batch gives maps (N k, D, H, W). Where one side has k times as
    many items as the other, k consecutive ones are read as one item with a further axis of positions, (N, D, k, H, W).

    Args:
        teacher: map, channels second.
        student: map, channels second, of any width.
        how: ``equal``: nothing is done, the positions must be equal already. ``mean``: the average over all positions,
            (N, C): what is where is no longer compared, which suits tokens beside maps. ``resize``: the finer side is
            average-pooled to the coarser along each axis; for maps with two or three axes of positions on both sides.

    Raises:
        TrainingError: they can't be brought together so; the message has both shapes.

    >>> import torch
    >>> tokens, frames = torch.zeros(2, 8, 50), torch.zeros(2 * 4, 3, 7, 7)
    >>> [tuple(x.shape) for x in match_positions(tokens, frames, "mean")]
    [(2, 8), (2, 3)]
    """
    shapes = f"the teacher's map {tuple(teacher.shape)} and the student's {tuple(student.shape)}"
    if min(teacher.ndim, student.ndim) < 2:
        raise TrainingError(f"{shapes} have no channels", hint="features: of modules inside")
    if how == "equal":
        if teacher.shape[0] != student.shape[0] or teacher.shape[2:] != student.shape[2:]:
            hint = "positions: mean, or resize; features: of modules that fit; channels: second, or last"
            raise TrainingError(f"{shapes} differ in more than channels", hint=hint)
        return teacher, student
    teacher, student = match_items(teacher, student)
    if how == "mean":
        return mean_of_positions(teacher), mean_of_positions(student)
    if teacher.ndim != student.ndim or teacher.ndim not in (4, 5):
        raise TrainingError(f"{shapes} can't be resized to each other", hint="positions: mean")
    size = tuple(min(pair) for pair in zip(teacher.shape[2:], student.shape[2:], strict=True))
    return _pool(teacher, size), _pool(student, size)


def match_items(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps with the same number of items: k consecutive ones of the longer side become one, (N, C, k, ...).

    Raises:
        TrainingError: neither number of items is a multiple of the other.
    """
    fewer, more = sorted((len(teacher), len(student)))
    if fewer == 0 or more % fewer:
        shapes = f"the teacher's map {tuple(teacher.shape)} and the student's {tuple(student.shape)}"
        raise TrainingError(f"{shapes} differ in items, and neither number is a multiple of the other")
    return _unfold(teacher, fewer), _unfold(student, fewer)


def _unfold(feature: Tensor, items: int) -> Tensor:
    return feature if len(feature) == items else feature.reshape(items, -1, *feature.shape[1:]).movedim(1, 2)


def mean_of_positions(feature: Tensor) -> Tensor:
    """(N, C), the average of a map (N, C, ...) over its positions."""
    return feature.flatten(2).mean(2) if feature.ndim > 2 else feature


def _pool(feature: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(feature.shape[2:]) == size:
        return feature
    pool: Callable[..., Tensor] = adaptive_avg_pool2d if len(size) == 2 else adaptive_avg_pool3d
    return pool(feature, size)
