import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from compressvqa.distillation.ranking import list_mle, list_net, rank_margin, rank_net
from compressvqa.errors import TrainingError

GENERATOR = np.random.default_rng(0)
T, S = (torch.tensor(x) for x in GENERATOR.normal(size=(2, 5)))
PAIRS = list(itertools.combinations(range(5), 2))
FIRST, SECOND = (torch.tensor(side) for side in zip(*PAIRS, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_rank_net_is_a_binary_cross_entropy_over_pairs(temperature):
    targets = ((T[FIRST] - T[SECOND]) / temperature).sigmoid()
    logits = (S[FIRST] - S[SECOND]) / temperature
    expected = functional.binary_cross_entropy_with_logits(logits, targets)
    assert torch.allclose(rank_net(T, S, temperature=temperature), expected)


def test_rank_net_stays_finite_where_the_student_is_far_off():
    student = torch.tensor([1e4, -1e4], requires_grad=True)
    value = rank_net(torch.tensor([0.0, 1.0]), student)
    value.backward()
    assert value.item() == pytest.approx(2e4 * torch.tensor(1.0).sigmoid().item(), rel=1e-5)
    assert student.grad.isfinite().all()


def test_list_net_is_torchs_soft_cross_entropy():
    assert torch.allclose(list_net(T, S), functional.cross_entropy(S[None], T.softmax(0)[None]))
    assert torch.allclose(list_net(T, S, temperature=2.0), list_net(T / 2, S / 2))


def test_list_mle_is_the_chance_of_drawing_the_teachers_order():
    """Plackett-Luce: the best is drawn first, in proportion to exp(score), then the best of the rest, ..."""
    rest, chance = {i: math.exp(S[i]) for i in range(5)}, 1.0
    for best in torch.argsort(T, descending=True).tolist():
        chance *= rest[best] / sum(rest.values())
        del rest[best]
    assert float(list_mle(T, S)) == pytest.approx(-math.log(chance) / 5, rel=1e-9)
    # The chances of all orders add up to 1.
    orders = itertools.permutations(range(5))
    total = sum(math.exp(-5 * float(list_mle(torch.tensor(order).double(), S))) for order in orders)
    assert total == pytest.approx(1)


def test_list_mle_treats_ties_alike():
    tied = torch.tensor([2.0, 1.0, 1.0, 0.0])
    student = torch.tensor([1.0, 0.5, -0.5, 0.0], dtype=torch.float64)
    everyone, without_best = student.logsumexp(0), student[1:].logsumexp(0)
    expected = (everyone + 2 * without_best + student[3] - student.sum()) / 4
    assert torch.allclose(list_mle(tied, student), expected)
    equal = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    list_mle(torch.ones(3), equal).backward()
    assert equal.grad.abs().max() < 1e-12  # nothing to learn: equal already


def test_rank_margin_equals_torchs_on_ordered_pairs():
    tied = T.clone()
    tied[1] = tied[0]
    kept = [(i, j) for i, j in PAIRS if tied[i] != tied[j]]
    assert len(kept) == 9
    first, second = (torch.tensor(side) for side in zip(*kept, strict=True))
    signs = (tied[first] - tied[second]).sign()
    expected = functional.margin_ranking_loss(S[first], S[second], signs, margin=0.5)
    assert torch.allclose(rank_margin(tied, S), expected)
    gaps = (T[FIRST] - T[SECOND]).abs()
    lead = (S[FIRST] - S[SECOND]) * (T[FIRST] - T[SECOND]).sign()
    assert torch.allclose(rank_margin(T, S, margin=1.0, scaled=True), (gaps - lead).relu().mean())
    assert float(rank_margin(T, T, margin=1.0, scaled=True)) == 0


def test_mistakes_are_named():
    for loss in (rank_net, list_net, list_mle, rank_margin):
        with pytest.raises(TrainingError, match="tensors of scores"):
            loss(torch.zeros(3), torch.zeros(3, 1))
    for loss in (rank_net, list_net):
        with pytest.raises(TrainingError, match="temperature"):
            loss(T, S, temperature=0.0)
    with pytest.raises(TrainingError, match="margin"):
        rank_margin(T, S, margin=-1.0)
