r"""Ranking: the student puts the clips of a batch into the teacher's order.

Each takes the scores of N clips from both networks, (N,), higher is better, and returns a 0-d float32 tensor; gradients
reach the student only. With opinion scores in the teacher's place they are training losses. A batch of one clip has no
order: 0, no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from compressvqa.distillation.prepare import score_pair
from compressvqa.errors import TrainingError
from compressvqa.registry import losses


@losses.register("rank-net", on="score", minimum_at_equality=True, least_items=2)
def rank_net(teacher: Tensor, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""RankNet (Burges et al., "Learning to rank using gradient descent", ICML 2005, equation (3)) on all pairs.

    With :math:`o_{ij} = (s_i - s_j) / T` of the student and :math:`\bar P_{ij} = \sigma((t_i - t_j) / T)` of the
    teacher, the mean of :math:`-\bar P_{ij} o_{ij} + \log(1 + e^{o_{ij}})` over the pairs i < j. Least where the
    differences are the teacher's; that least value is the mean entropy of its answers. Equal scores of the teacher ask
    for equal ones.

    Args:
        teacher: scores, (N,).
        student: scores, (N,).
        temperature: T > 0; below 1 the teacher's answers come near to yes and no.

    >>> rank_net(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0]))  # ln 2
    tensor(0.6931)
    """
    _positive("temperature", temperature)
    teacher, student = score_pair(teacher, student)
    theirs, ours = (_differences(scores / temperature) for scores in (teacher, student))
    upper = torch.ones_like(ours).triu(1)
    return ((softplus(ours) - theirs.sigmoid() * ours) * upper).sum() / upper.sum().clamp_min(1)


@losses.register("list-net", on="score", minimum_at_equality=True, least_items=2)
def list_net(teacher: Tensor, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""ListNet with top-one probabilities (Cao et al., "Learning to rank: from pairwise to listwise", ICML 2007).

    The cross-entropy :math:`-\sum_i P^t_i \log P^s_i` with :math:`P = \mathrm{softmax}(s / T)`, the chance of each clip
    to be ranked first. Least where the differences are the teacher's; that least value is the teacher's entropy.

    >>> list_net(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 3.0]))  # ln 2
    tensor(0.6931)
    """
    _positive("temperature", temperature)
    teacher, student = score_pair(teacher, student)
    return -((teacher / temperature).softmax(0) * (student / temperature).log_softmax(0)).sum()


@losses.register("list-mle", on="score", least_items=2)
def list_mle(teacher: Tensor, student: Tensor) -> Tensor:
    r"""ListMLE (Xia et al., "Listwise approach to learning to rank", ICML 2008): how likely is the teacher's order?

    Minus the log-likelihood of the teacher's order under the Plackett-Luce model of the student's scores, over N:
    :math:`\frac1N \sum_i \log \sum_{j: t_j \le t_i} e^{s_j} - s_i`. Clips that the teacher scores equally share one
    denominator (Breslow's rule for ties), so that their order in the batch is of no account. Only the teacher's order
    is read, not its distances: the loss goes on falling as the student's distances grow.

    >>> list_mle(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 0.0]))  # (ln 2 + ln 1) / 2
    tensor(0.3466)
    """
    teacher, student = score_pair(teacher, student)
    not_better = teacher[None, :] <= teacher[:, None]
    # Every row holds at least the clip itself, so no row is empty.
    below = student[None, :].expand_as(not_better).masked_fill(~not_better, -torch.inf).logsumexp(1)
    return (below - student).mean()


@losses.register("rank-margin", on="score", least_items=2)
def rank_margin(teacher: Tensor, student: Tensor, *, margin: float = 0.5, scaled: bool = False) -> Tensor:
    r"""Margin ranking: the better clip of a pair should lead by a margin.

    The mean of :math:`\max(0, m - (s_i - s_j))` over the pairs that the teacher orders, t_i > t_j (the hinge of
    Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000); 0 where it orders none.

    Args:
        teacher: scores, (N,).
        student: scores, (N,).
        margin: m >= 0, in units of the student's score.
        scaled: the margin of a pair is m (t_i - t_j): far clips should be far apart (m = 1 is 0 at equality).

    >>> rank_margin(torch.tensor([1.0, 0.0]), torch.tensor([0.2, 0.0]))
    tensor(0.3000)
    """
    if not margin >= 0:
        raise TrainingError(f"the margin is {margin!r} and must not be negative", where="rank-margin")
    teacher, student = score_pair(teacher, student)
    theirs = _differences(teacher)
    ordered = (theirs > 0).to(student)
    lead = margin * (theirs if scaled else torch.ones_like(theirs))
    return ((lead - _differences(student)).relu() * ordered).sum() / ordered.sum().clamp_min(1)


def _differences(scores: Tensor) -> Tensor:
    return scores[:, None] - scores[None, :]


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise TrainingError(f"the {name} is {value!r} and must be positive")
