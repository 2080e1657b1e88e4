r"""Correlation with the teacher's scores as a loss: what a quality metric is judged by, learnt directly.

Each takes the scores of N clips from both networks, (N,), and returns a 0-d float32 tensor; gradients reach the student
only. With opinion scores in the teacher's place they are training losses. Scale and offset of the scores are left open.

Both are written as a quarter of the mean squared difference of standardised values, which is (1 - r) / 2 exactly, and
exactly 0 at r = 1. Where a side has no spread (one clip, or equal scores) r does not exist: the loss is then 1/4, or 0
where both have none. A student without spread still gets a gradient towards the teacher's order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from compressvqa.distillation.prepare import score_pair, standardise
from compressvqa.distillation.ranks import soft_rank
from compressvqa.registry import losses


@losses.register("score-plcc", on="score", zero_at_equality=True, least_items=2)
def score_plcc(teacher: Tensor, student: Tensor) -> Tensor:
    r"""One minus Pearson's correlation, halved: :math:`(1 - r) / 2`, as in training for quality (e.g. FAST-VQA, 2022).

    In [0, 1]; 0 where the student is a rising straight line of the teacher.

    >>> rising = torch.tensor([1.0, 3.0, 3.0, 1.0])
    >>> score_plcc(rising, 10 * rising), score_plcc(rising, -rising)
    (tensor(0.), tensor(1.))
    """
    teacher, student = score_pair(teacher, student)
    return _loss(teacher, student)


@losses.register("score-srocc", on="score", least_items=2)
def score_srocc(teacher: Tensor, student: Tensor, *, strength: float = 2.0) -> Tensor:
    r"""One minus Spearman's correlation, halved, :math:`(1 - \rho) / 2`, with soft ranks of the student.

    The teacher's ranks are exact (ties share the mean); the student's are `soft_rank`, the projection onto the
    permutahedron of Blondel et al. (ICML 2020), of its scores scaled to the deviation of ranks 1..N. In [0, 1] about.
    As `strength` goes to 0 it is exactly (1 - SROCC) / 2, ties included, but then has no gradient: only clips whose
    scores are near each other, compared with `strength` mean distances, pull. As it grows the loss becomes Pearson's
    with the teacher's ranks.

    Args:
        teacher: scores, (N,).
        student: scores, (N,).
        strength: > 0, in distances of evenly spread scores.

    >>> score_srocc(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.0, 5.0, 4.0]), strength=0.01)  # rho = 0.5
    tensor(0.2500)
    """
    teacher, student = score_pair(teacher, student)
    spread = math.sqrt((len(student) ** 2 - 1) / 12)
    return _loss(_ranks(teacher), soft_rank(standardise(student) * spread, strength))


def _loss(teacher: Tensor, student: Tensor) -> Tensor:
    return (standardise(teacher) - standardise(student)).square().mean() / 4


def _ranks(scores: Tensor) -> Tensor:
    """Ranks 1..N; ties share their mean."""
    below, equal = (compare(scores[None, :], scores[:, None]).sum(1) for compare in (torch.lt, torch.eq))
    return (below + (equal + 1) / 2).to(scores)
