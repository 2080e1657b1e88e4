r"""Score matching: losses between the quality scores of a teacher and of a student.

Each takes two tensors of shape (N,), one score a clip, and returns a 0-d float32 tensor. Gradients reach the student
only. ``standardise=True`` gives both sides zero mean and unit deviation over the batch first, each by its own figures:
the loss is then blind to the scale and the offset of either network, which ranks do not fix. The mean square of
standardised scores is 2 (1 - r), with Pearson's correlation r.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from compressvqa.distillation.prepare import score_pair
from compressvqa.distillation.prepare import standardise as standardised
from compressvqa.registry import losses


@losses.register("score-l1", on="score", zero_at_equality=True)
def score_l1(teacher: Tensor, student: Tensor, *, standardise: bool = False) -> Tensor:
    r"""Mean absolute difference of the scores, :math:`\frac1N \sum_i |s^t_i - s^s_i|`. At least 0; 0 at equality.

    >>> import torch
    >>> score_l1(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    tensor(0.5000)
    >>> score_l1(torch.tensor([1.0, 3.0]), torch.tensor([10.0, 20.0]), standardise=True)
    tensor(0.)
    """
    teacher, student = _prepare(teacher, student, standardise)
    return (teacher - student).abs().mean()


@losses.register("score-mse", on="score", zero_at_equality=True)
def score_mse(teacher: Tensor, student: Tensor, *, standardise: bool = False) -> Tensor:
    r"""Mean squared difference of the scores, :math:`\frac1N \sum_i (s^t_i - s^s_i)^2` (as in InternVQA, 2502.19026).

    >>> import torch
    >>> score_mse(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    teacher, student = _prepare(teacher, student, standardise)
    return (teacher - student).square().mean()


@losses.register("score-smooth-l1", on="score", zero_at_equality=True)
def score_smooth_l1(teacher: Tensor, student: Tensor, *, standardise: bool = False, beta: float = 1.0) -> Tensor:
    r"""Mean of :math:`e^2 / 2\beta` where the difference e is below `beta`, of :math:`|e| - \beta / 2` elsewhere.

    >>> import torch
    >>> score_smooth_l1(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))  # (0 + 1.5) / 2
    tensor(0.7500)
    """
    teacher, student = _prepare(teacher, student, standardise)
    return smooth_l1_loss(student, teacher, beta=beta)


def _prepare(teacher: Tensor, student: Tensor, standardise: bool) -> tuple[Tensor, Tensor]:
    teacher, student = score_pair(teacher, student)
    return (standardised(teacher), standardised(student)) if standardise else (teacher, student)
