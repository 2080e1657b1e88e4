r"""Logit distillation: the student's soft labels approach the teacher's.

Each takes two tensors of logits (N, C), N items of C classes, and returns a 0-d float32 tensor; gradients reach the
student only. A quality network has no classes but one score a clip, (N,): then the batch is the one row, and the
classes are its clips. Its softmax says how likely each clip is to be the best of this batch, so what is learnt is how
the clips of a batch stand to each other; a constant that is added to all scores changes nothing, and a batch of one
clip says nothing (0, no gradient).

With ``standardise=True`` each row is brought to zero mean and unit deviation before the temperature: Sun et al., "Logit
standardization in knowledge distillation", CVPR 2024, equation (9). The student then need not reach the teacher's
scale, only its relations. It takes rows of some length: **a row of two is always (-1, 1) once standardised**, so for
the margin m of a pair as logits (m / 2, -m / 2), or for a batch of two clips, nothing but the order is left and the
gradient is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compressvqa.distillation import losses as levels
from compressvqa.distillation.prepare import logit_pair
from compressvqa.distillation.prepare import standardise as standardised
from compressvqa.errors import TrainingError
from compressvqa.registry import losses


@losses.register("logit-kl", on="score", zero_at_equality=True, least_items=2)
def logit_kl(teacher: Tensor, student: Tensor, *, temperature: float = 4.0, standardise: bool = False) -> Tensor:
    r"""Soft labels with a temperature (Hinton et al., "Distilling the knowledge in a neural network", 2015, section 2).

    :math:`T^2 \frac1N \sum_i \mathrm{KL}(p^t_i \| p^s_i)` with :math:`p = \mathrm{softmax}(z / T)` over classes, or
    over the clips of the batch. The factor T^2 keeps the size of the gradient. At least 0; 0 at equality, also up to a
    constant. For a large T it becomes half the mean squared difference of the centred logits.

    Args:
        teacher: logits (N, C), or scores (N,).
        student: the same shape.
        temperature: T > 0.
        standardise: zero mean and unit deviation of each row first; see above for rows of two.

    >>> logit_kl(torch.tensor([2.0, 0.0]), torch.tensor([5.0, 3.0]))  # the same relation, another level
    tensor(0.)
    >>> logit_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, -1.0]]), temperature=1.0)  # ln cosh 1
    tensor(0.4338)
    """
    _positive(temperature)
    teacher, student = _rows(teacher, student, standardise)
    theirs, ours = (rows.div(temperature).log_softmax(1) for rows in (teacher, student))
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(1).mean()


@losses.register("logit-multi-level", on="score", zero_at_equality=True, least_items=2)
def logit_multi_level(
    teacher: Tensor,
    student: Tensor,
    *,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    standardise: bool = False,
) -> Tensor:
    r"""Multi-level logit distillation (Jin et al., CVPR 2023): instance, batch and class level, over temperatures.

    :math:`\sum_T T^2 L_{ins}(p^t_T, p^s_T) + L_{batch}(p^t_T, p^s_T) + L_{class}(p^t_T, p^s_T)` with
    :math:`p_T = \mathrm{softmax}(z / T)`; the three levels are `instance` (as a divergence), `batch` and `class_`. At
    least 0; 0 at equality. On scores the batch is one row of N clips: its batch level is one number and its class level
    compares every two clips. For the probabilities of rank pairs use the three losses themselves, with `temperatures`
    of the stage.

    Args:
        teacher: logits (N, C), or scores (N,).
        student: the same shape.
        temperatures: each > 0, at least one; the paper's are 2 to 6.
        standardise: zero mean and unit deviation of each row first; see above for rows of two.

    >>> scores = torch.tensor([0.5, 2.0, 1.0])
    >>> logit_multi_level(scores, scores), logit_multi_level(scores, scores.flip(0)) > 0
    (tensor(0.), tensor(True))
    """
    if not temperatures:
        raise TrainingError("no temperature is given, at least one is needed", where="logit-multi-level")
    teacher, student = _rows(teacher, student, standardise)
    terms = []
    for temperature in temperatures:
        _positive(temperature)
        theirs, ours = (rows.div(temperature).softmax(1) for rows in (teacher, student))
        terms.append(temperature**2 * levels.instance(theirs, ours, kl=True))
        terms += [levels.batch(theirs, ours), levels.class_(theirs, ours)]
    return torch.stack(terms).sum()


def _rows(teacher: Tensor, student: Tensor, standardise: bool) -> tuple[Tensor, Tensor]:
    teacher, student = logit_pair(teacher, student)
    return (standardised(teacher), standardised(student)) if standardise else (teacher, student)


def _positive(temperature: float) -> None:
    if not temperature > 0:
        raise TrainingError(f"the temperature is {temperature!r} and must be positive")
