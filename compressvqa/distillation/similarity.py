r"""Similarity of items: which clips of a batch the teacher finds alike, the student should find alike.

Each takes two maps (N, ...), any shape with the same number of items, each item flattened to a vector, and returns a
0-d float32 tensor; gradients reach the student only. No projection is needed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from compressvqa.distillation.prepare import feature_pair
from compressvqa.errors import TrainingError
from compressvqa.registry import losses


@losses.register("similarity-preserving", on="feature", zero_at_equality=True, any_shape=True, least_items=2)
def similarity_preserving(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Similarity-preserving distillation (Tung and Mori, ICCV 2019, equations (1) to (4)).

    :math:`\frac1{N^2} \|G^t - G^s\|_F^2`, with :math:`G = F F^\top` over the flattened items and each of its rows
    scaled to length 1. At least 0; 0 at equality, also up to a factor.

    >>> alike, unlike = torch.tensor([[1.0], [1.0]]), torch.eye(2)  # rows (.71, .71) twice, and the unit matrix
    >>> similarity_preserving(alike, unlike)  # 1 - sqrt(1/2)
    tensor(0.2929)
    """
    teacher, student = feature_pair(teacher, student, any_shape=True)
    theirs, ours = (normalize(_gram(items.flatten(1)), dim=1) for items in (teacher, student))
    return (theirs - ours).square().mean()


@losses.register("correlation-congruence", on="feature", zero_at_equality=True, any_shape=True, least_items=2)
def correlation_congruence(teacher: Tensor, student: Tensor, *, gamma: float = 0.4, order: int | None = None) -> Tensor:
    r"""Correlation congruence (Peng et al., ICCV 2019) with the Gaussian kernel.

    :math:`\frac1{N^2} \|C^t - C^s\|_F^2` with :math:`C_{ij} = \exp(-\gamma \|x_i - x_j\|^2)` of the flattened items,
    each scaled to length 1. The paper works with the Taylor series of the kernel,
    :math:`\sum_{p=0}^{P} e^{-2\gamma} \frac{(2\gamma)^p}{p!} (x_i^\top x_j)^p`, and takes P = 2 and gamma = 0.4; the
    kernel itself costs no more. At least 0; 0 at equality.

    Args:
        teacher: map, (N, ...).
        student: map, (N, ...), of any width.
        gamma: of the kernel, > 0.
        order: P >= 1 of the series; None for the kernel itself.

    >>> alike, unlike = torch.ones(2, 1), torch.eye(2)  # (1 - exp(-.8))^2 in two of four places
    >>> correlation_congruence(alike, unlike)
    tensor(0.1516)
    """
    if not gamma > 0 or (order is not None and order < 1):
        raise TrainingError(f"gamma {gamma!r} must be positive, order {order!r} at least 1, or none")
    teacher, student = feature_pair(teacher, student, any_shape=True)
    theirs, ours = (_kernel(_gram(normalize(items.flatten(1), dim=1)), gamma, order) for items in (teacher, student))
    return (theirs - ours).square().mean()


def _kernel(cosines: Tensor, gamma: float, order: int | None) -> Tensor:
    if order is None:  # for unit vectors the squared distance is 2 - 2 cos
        return torch.exp(2 * gamma * (cosines - 1))
    powers = [(2 * gamma) ** p / math.factorial(p) * cosines**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(powers).sum(0)


def _gram(rows: Tensor) -> Tensor:
    # Autocast would multiply in half precision, and the difference of two Gram matrices is small.
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T
