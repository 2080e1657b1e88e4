import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import pearsonr, rankdata, spearmanr

from compressvqa.distillation import soft_rank
from compressvqa.distillation.correlation import score_plcc, score_srocc
from compressvqa.errors import TrainingError

# --- ranks --------------------------------------------------------------------------------------------------------


def nearest_of_the_permutahedron(point):
    """The projection as a quadratic programme over weights of all orders of 1..N."""
    corners = np.array(list(itertools.permutations(range(1, len(point) + 1))), dtype=float)

    def distance(weights):
        difference = weights @ corners - point
        return difference @ difference, 2 * corners @ difference

    start = np.full(len(corners), 1 / len(corners))
    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    done = minimize(
        distance, start, jac=True, bounds=[(0, 1)] * len(corners), constraints=simplex,
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return done.x @ corners


@pytest.mark.parametrize("seed", range(4))
def test_soft_ranks_are_the_nearest_point_of_the_permutahedron(seed):
    values = np.random.default_rng(seed).normal(size=4) * [0.5, 1, 2, 4][seed]
    expected = nearest_of_the_permutahedron(values / 0.7)
    assert soft_rank(torch.tensor(values), 0.7).numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("items", [1, 2, 9, 40])
def test_soft_ranks_become_ranks(items):
    values = np.random.default_rng(items).integers(0, 10, size=items).astype(float)  # with ties
    assert soft_rank(torch.tensor(values), 0.02).numpy() == pytest.approx(rankdata(values), abs=1e-9)
    for strength in (0.1, 1.0, 30.0):
        ranks = soft_rank(torch.tensor(values), strength)
        assert float(ranks.sum()) == pytest.approx(items * (items + 1) / 2)
        assert np.all(np.diff(ranks.numpy()[np.argsort(values)]) >= -1e-9)
    wide = soft_rank(torch.tensor(values), 1e3)
    assert (wide - wide.mean()).numpy() == pytest.approx((values - values.mean()) / 1e3, abs=1e-9)


@pytest.mark.parametrize("strength", [0.3, 1.0, 5.0])
def test_the_gradient_of_soft_ranks_is_exact(strength):
    values = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: soft_rank(v, strength), values)


def test_wrong_values_are_named():
    for values in (torch.zeros(0), torch.zeros(2, 2)):
        with pytest.raises(TrainingError, match="shape"):
            soft_rank(values)
    with pytest.raises(TrainingError, match="strength"):
        soft_rank(torch.zeros(2), 0.0)


# --- correlations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_plcc_equals_scipys(seed):
    teacher, student = np.random.default_rng(seed).normal(size=(2, 11))
    expected = (1 - pearsonr(teacher, student)[0]) / 2
    assert float(score_plcc(torch.tensor(teacher), torch.tensor(80 - 9 * -student))) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [5, 10**9])
def test_srocc_in_the_hard_limit_equals_scipys_with_and_without_ties(seed, levels):
    teacher, student = np.random.default_rng(seed).integers(0, levels, size=(2, 12)).astype(float)
    expected = (1 - spearmanr(teacher, student)[0]) / 2
    assert float(score_srocc(torch.tensor(teacher), torch.tensor(student), strength=1e-6)) == pytest.approx(expected)


def test_srocc_in_the_soft_limit_is_pearsons_with_the_teachers_ranks():
    teacher, student = np.random.default_rng(5).normal(size=(2, 12))
    expected = (1 - pearsonr(rankdata(teacher), student)[0]) / 2
    assert float(score_srocc(torch.tensor(teacher), torch.tensor(student), strength=1e4)) == pytest.approx(expected)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_srocc_has_the_right_gradient(strength):
    generator = torch.Generator().manual_seed(2)
    teacher, student = (torch.randn(9, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda s: score_srocc(teacher, s, strength=strength), student.requires_grad_())


def test_descending_it_puts_the_clips_into_order():
    """Where the teacher's scores are far from a straight line of anything, the order is learnt all the same."""
    generator = torch.Generator().manual_seed(3)
    teacher, student = torch.randn(16, generator=generator) ** 3, torch.randn(16, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(120):
        optimizer.zero_grad()
        score_srocc(teacher, student).backward()
        optimizer.step()
    assert spearmanr(teacher, student.detach())[0] > 0.98


@pytest.mark.parametrize("loss", [score_plcc, score_srocc])
@pytest.mark.parametrize("level", [0.0, 3.3, 8e4])
def test_a_student_without_spread_is_pulled_gently(loss, level):
    student = torch.full((5,), level, requires_grad=True)
    value = loss(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), student)
    value.backward()
    assert value.item() == pytest.approx(0.25)
    assert student.grad.abs().max() < 10 and student.grad[0] > 0 > student.grad[4]
