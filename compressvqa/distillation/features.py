r"""Feature matching: losses between inner maps of a teacher and of a student.

Each takes two tensors (N, C, ...) with channels second, of equal shape (unless the loss is registered with
``any_width=True``), and returns a 0-d float32 tensor. Gradients reach the student only. Where the widths differ,
`DistillationLoss` puts a learnable projection before the loss.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from compressvqa.distillation.prepare import feature_pair
from compressvqa.registry import losses


@losses.register("feature-mse", on="feature", zero_at_equality=True)
def feature_mse(teacher: Tensor, student: Tensor, *, unit: bool = False) -> Tensor:
    r"""Mean squared difference of all values, :math:`\frac1n \sum (f^t - f^s)^2`. At least 0; 0 at equality.

    Args:
        teacher: map, (N, C, ...).
        student: map of the same shape.
        unit: scale each position's channel vector to length 1 first, as RankDVQA and LPIPS do before they compare.

    >>> import torch
    >>> feature_mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(0.5000)
    """
    teacher, student = feature_pair(teacher, student)
    if unit:
        teacher, student = normalize(teacher, dim=1), normalize(student, dim=1)
    return (teacher - student).square().mean()


@losses.register("feature-hint", on="feature", zero_at_equality=True)
def feature_hint(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Hints of FitNets (Romero et al., ICLR 2015, equation (3)): :math:`\frac12 \|f^t - r(f^s)\|^2`, a mean over
    items.

    The regressor r is the learnable projection that `DistillationLoss` puts where the widths differ. It is the sum over
    a whole map, so its size grows with the map; `feature-mse` is the same loss as a mean over all values.

    >>> import torch
    >>> feature_hint(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(2.5000)
    """
    teacher, student = feature_pair(teacher, student)
    return (teacher - student).square().flatten(1).sum(1).mean() / 2


@losses.register("feature-smooth-l1", on="feature", zero_at_equality=True)
def feature_smooth_l1(teacher: Tensor, student: Tensor, *, beta: float = 1.0) -> Tensor:
    r"""Smooth L1 difference of all values, the feature term of InternVQA (arXiv 2502.19026).

    The mean of :math:`e^2 / 2\beta` where the difference e is below `beta` and of :math:`|e| - \beta / 2` elsewhere.

    >>> import torch
    >>> feature_smooth_l1(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(1.2500)
    """
    teacher, student = feature_pair(teacher, student)
    return smooth_l1_loss(student, teacher, beta=beta)


@losses.register("feature-cosine", on="feature", zero_at_equality=True)
def feature_cosine(teacher: Tensor, student: Tensor) -> Tensor:
    r"""One minus the cosine between the channel vectors, averaged over batch and positions. In [0, 2].

    A position whose vector is zero in both maps counts 0; in one of them, 1.

    >>> import torch
    >>> feature_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(1.)
    """
    teacher, student = feature_pair(teacher, student)
    # Half the squared distance of unit vectors is 1 - cos, and exactly 0 at equality.
    unit_teacher, unit_student = normalize(teacher, dim=1), normalize(student, dim=1)
    half = (unit_teacher - unit_student).square().sum(1) / 2
    only_one = (teacher.abs().sum(1) > 0) != (student.abs().sum(1) > 0)
    return (half + half.detach() * only_one).mean()


@losses.register("feature-attention", on="feature", zero_at_equality=True, any_width=True)
def feature_attention(teacher: Tensor, student: Tensor) -> Tensor:
    r"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017): where the maps are strong, whatever their width.

    With :math:`a = \sum_c f_c^2` over channels, flattened and scaled to length 1 for each item:
    :math:`\frac1N \sum_i \|a^t_i - a^s_i\|_2^2`. In [0, 2]. Needs no projection: only N and the positions must agree.
    The paper's equation (2) has the distance itself; its code, and most who followed, the square, as here.

    >>> import torch
    >>> strong_left = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])  # (N=2, C=1, 2 positions)
    >>> feature_attention(strong_left, strong_left.flip(2).repeat(1, 4, 1))
    tensor(2.)
    """
    teacher, student = feature_pair(teacher, student, any_width=True)
    attention = [normalize(f.square().sum(1).flatten(1), dim=1) for f in (teacher, student)]
    return (attention[0] - attention[1]).square().sum(1).mean()
