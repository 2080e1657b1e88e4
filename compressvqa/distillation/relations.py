r"""Relational distillation: how the items of a batch lie to each other, whatever the space they lie in.

Source: Park et al., "Relational knowledge distillation", CVPR 2019. Each takes two maps (N, ...), any shape with the
same number of items, each item flattened to a vector, and returns a 0-d float32 tensor; gradients reach the student
only. No projection is needed. The paper sums over all pairs or triplets; here it is their mean, so that a weight does
not depend on the batch. Fewer than three items have no relation of either kind: 0, no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from compressvqa.distillation.prepare import feature_pair
from compressvqa.registry import losses


@losses.register("relation-distance", on="feature", zero_at_equality=True, any_shape=True, least_items=3)
def relation_distance(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Distances between items, equations (6) to (8): the Huber loss of :math:`\psi_D = \|f_i - f_j\| / \mu`.

    :math:`\mu` is the mean distance over the pairs i != j of the batch, each network's own, so scale is left open. Two
    items always have the distance 1. At least 0; 0 at equality.

    >>> line, bent = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    >>> relation_distance(line, 7 * line), relation_distance(line, bent)  # (.75, .75, 1.5) and (.75, 1, 1.25)
    (tensor(0.), tensor(0.0208))
    """
    teacher, student = feature_pair(teacher, student, any_shape=True)
    pairs = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    theirs, ours = (_over_mean(_distances(items)[pairs]) for items in (teacher, student))
    return (smooth_l1_loss(ours, theirs, reduction="sum") / max(len(ours), 1)).to(student)


@losses.register("relation-angle", on="feature", zero_at_equality=True, any_shape=True, least_items=3)
def relation_angle(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Angles between items, equations (9) and (10): the Huber loss of :math:`\psi_A = \cos \angle f_i f_j f_k`.

    Over all triplets of three different items, with the angle at j; where two of them coincide its cosine counts 0. At
    least 0; 0 at equality. Its cost grows with the cube of the batch.

    >>> corner = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> line = torch.tensor([[-1.0], [0.0], [1.0]])  # cosines at the corner 0, .71, .71; on the line -1, 1, 1
    >>> relation_angle(corner, 2 * corner), relation_angle(corner, line)
    (tensor(0.), tensor(0.1953))
    """
    teacher, student = feature_pair(teacher, student, any_shape=True)
    apart = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    triplets = apart[:, :, None] & apart[:, None, :] & apart[None, :, :]
    theirs, ours = (_cosines(_distances(items))[triplets] for items in (teacher, student))
    return (smooth_l1_loss(ours, theirs, reduction="sum") / max(len(ours), 1)).to(student)


def _distances(items: Tensor) -> Tensor:
    """(N, N) distances in float64: angles are worked out from differences of their squares."""
    rows = items.flatten(1).double()
    # Not by a matrix product, which loses near items; the gradient of a distance of 0 is 0.
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def _over_mean(distances: Tensor) -> Tensor:
    mean = distances.sum() / max(len(distances), 1)
    return distances / torch.where(mean > 0, mean, torch.ones_like(mean))


def _cosines(distances: Tensor) -> Tensor:
    """Cosine of the angle at j of the items i, j, k, (N, N, N), by the law of cosines; 0 where two coincide."""
    square = distances.square()
    legs = distances[:, :, None] * distances.T[None, :, :]  # |ij| |jk|
    opposite = square[:, :, None] + square.T[None, :, :] - square[:, None, :]
    there = legs > 0
    return torch.where(there, opposite / (2 * torch.where(there, legs, torch.ones_like(legs))), torch.zeros_like(legs))
