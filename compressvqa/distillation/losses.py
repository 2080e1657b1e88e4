r"""Multi-level logit distillation: three losses between the probabilities of a teacher and of a student.

Source: RankDVQA-mini (Feng et al.), equations (3) to (8), after Jin et al., "Multi-level logit distillation", CVPR
2023. Each takes two tensors of shape (B, C) with values in [0, 1] and returns a 0-d float32 tensor (float64 for float64
input). Gradients reach the student only. Two forms of a rank pair's probability p = sigmoid(d1 - d2) are in use, both
made by `compressvqa.distillation.to_probabilities`:

- (B, 1), the paper's: the column p.
- (B, 2), symmetric: the rows [p, 1 - p], which name both outcomes, so that a loss does not change when the two clips of
  every pair change places. It is also stabler: 1 - p is sigmoid(d2 - d1), exact where p is close to 1.

The paper's total is ``instance + batch + class + 0.1 * task loss`` (equations 7 and 8).
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressvqa.errors import TrainingError
from compressvqa.registry import losses


@losses.register("instance", on="probability", minimum_at_equality=True, temperature_power=2)
def instance(teacher: Tensor, student: Tensor, *, kl: bool = False) -> Tensor:
    r"""Instance level, equations (3) and (4): cross-entropy of each prediction with the teacher's as soft target.

    For (B, 1): :math:`-\frac1B \sum_i p^t_i \log p^s_i + (1 - p^t_i) \log(1 - p^s_i)`, the binary cross-entropy. For
    C >= 2, with rows that sum to one: :math:`-\frac1B \sum_{i,c} p^t_{ic} \log p^s_{ic}`; on [p, 1 - p] that is the
    same number. It is least where the student equals the teacher, and that least value is the teacher's entropy.

    Args:
        teacher: probabilities, (B, C).
        student: probabilities, (B, C).
        kl: subtract the teacher's entropy, so that the minimum is 0 (Kullback-Leibler divergence; same gradient).

    >>> p, q = torch.tensor([[0.5], [0.8]]), torch.tensor([[0.5], [0.5]])
    >>> instance(p, q), instance(p, p, kl=True)
    (tensor(0.6931), tensor(0.))
    """
    teacher, student = _prepare(teacher, student)
    if teacher.shape[1] == 1:
        teacher, student = torch.cat([teacher, 1 - teacher], 1), torch.cat([student, 1 - student], 1)
    cross_entropy = -(teacher * _log(student)).sum(1).mean()
    if not kl:
        return cross_entropy
    return cross_entropy + (teacher * _log(teacher)).sum(1).mean()


@losses.register("batch", on="probability", zero_at_equality=True)
def batch(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Batch level, equation (5): how the instances of a batch relate to each other.

    :math:`\frac1B \|P^t {P^t}^\top - P^s {P^s}^\top\|_F^2` over the B x B Gram matrices. At least 0; 0 at equality.

    Args:
        teacher: probabilities, (B, C).
        student: probabilities, (B, C).

    >>> p, q = torch.tensor([[1.0], [0.5]]), torch.tensor([[0.5], [0.5]])
    >>> batch(p, q)  # (0.75^2 + 2 * 0.25^2 + 0^2) / 2
    tensor(0.3438)
    """
    teacher, student = _prepare(teacher, student)
    return (_gram(teacher) - _gram(student)).square().sum() / len(teacher)


@losses.register("class", on="probability", zero_at_equality=True)
def class_(teacher: Tensor, student: Tensor, *, normalise: bool = False) -> Tensor:
    r"""Class level, equation (6): how the classes relate to each other over a batch.

    :math:`\frac1C \|{P^t}^\top P^t - {P^s}^\top P^s\|_F^2` over the C x C Gram matrices; for C = 1 it is the paper's
    :math:`({p^t}^\top p^t - {p^s}^\top p^s)^2`. At least 0; 0 at equality (and elsewhere: it sees sums over the batch).

    Args:
        teacher: probabilities, (B, C).
        student: probabilities, (B, C).
        normalise: divide by B^2. The sums grow with the batch and their squares with its square, so without it (the
            paper's form) the weight of this loss depends on the batch size.

    >>> p, q = torch.tensor([[1.0], [0.5]]), torch.tensor([[0.5], [0.5]])
    >>> class_(p, q), class_(p, q, normalise=True)  # (1.25 - 0.5)^2, and a quarter of it
    (tensor(0.5625), tensor(0.1406))
    """
    teacher, student = _prepare(teacher, student)
    distance = (_gram(teacher.T) - _gram(student.T)).square().sum() / teacher.shape[1]
    return distance / len(teacher) ** 2 if normalise else distance


def _prepare(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    if teacher.ndim != 2 or teacher.shape != student.shape or teacher.numel() == 0:
        shapes = f"{tuple(teacher.shape)} and {tuple(student.shape)}"
        raise TrainingError(f"teacher and student must be two (B, C) tensors of probabilities, not {shapes}")
    # Half precision has no room for 1 - p and for sums over a batch.
    wide = torch.float64 if student.dtype == torch.float64 else torch.float32
    return teacher.detach().to(wide), student.to(wide)


def _gram(rows: Tensor) -> Tensor:
    # Autocast would multiply in half precision, and the difference of two Gram matrices is small.
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T


def _log(p: Tensor) -> Tensor:
    # A probability that has underflowed to 0 costs about 87 instead of infinity.
    return p.clamp_min(torch.finfo(torch.float32).tiny).log()
