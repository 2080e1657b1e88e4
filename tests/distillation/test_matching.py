import numpy as np
import pytest
import torch

from compressvqa.distillation.features import feature_attention, feature_cosine, feature_mse, feature_smooth_l1
from compressvqa.distillation.scores import score_l1, score_mse, score_smooth_l1
from compressvqa.errors import TrainingError


def test_scores_by_hand():
    teacher, student = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.5, 2.0, 1.0])
    assert float(score_l1(teacher, student)) == pytest.approx(3.5 / 3)
    assert float(score_mse(teacher, student)) == pytest.approx(9.25 / 3)
    assert float(score_smooth_l1(teacher, student)) == pytest.approx((0.125 + 2.5) / 3)


def test_standardised_mse_is_two_times_one_minus_pearson():
    generator = np.random.default_rng(0)
    teacher, student = generator.normal(size=30), generator.normal(size=30)
    ours = float(score_mse(torch.tensor(teacher), torch.tensor(7 * student - 3), standardise=True))
    assert ours == pytest.approx(2 * (1 - np.corrcoef(teacher, student)[0, 1]), rel=1e-9)


@pytest.mark.parametrize("loss", [score_l1, score_mse, score_smooth_l1])
def test_standardised_scores_without_spread_give_no_gradient_instead_of_nan(loss):
    for count in (1, 4):
        student = torch.ones(count, requires_grad=True)
        value = loss(torch.zeros(count), student, standardise=True)
        value.backward()
        assert value.item() == 0 and student.grad.isfinite().all()
    with pytest.raises(TrainingError, match="scores, not"):
        loss(torch.zeros(3), torch.zeros(3, 1))


def test_features_against_numpy():
    generator = np.random.default_rng(1)
    t, s = generator.normal(size=(2, 3, 4, 5)), generator.normal(size=(2, 3, 4, 5))
    teacher, student = torch.tensor(t), torch.tensor(s)
    assert float(feature_mse(teacher, student)) == pytest.approx(np.mean((t - s) ** 2))
    e = np.abs(t - s)
    assert float(feature_smooth_l1(teacher, student)) == pytest.approx(np.mean(np.where(e < 1, e**2 / 2, e - 0.5)))
    cosine = (t * s).sum(1) / np.linalg.norm(t, axis=1) / np.linalg.norm(s, axis=1)
    assert float(feature_cosine(teacher, student)) == pytest.approx(np.mean(1 - cosine))
    unit = t / np.linalg.norm(t, axis=1, keepdims=True) - s / np.linalg.norm(s, axis=1, keepdims=True)
    assert float(feature_mse(teacher, student, unit=True)) == pytest.approx(np.mean(unit**2))
    maps = [(x**2).sum(1).reshape(2, -1) for x in (t, s)]
    a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps)
    assert float(feature_attention(teacher, student)) == pytest.approx(np.mean(((a - b) ** 2).sum(1)))


def test_cosine_counts_a_dead_position_as_wrong_only_if_one_side_is_dead():
    zero, one = torch.zeros(1, 2, 1), torch.ones(1, 2, 1)
    assert float(feature_cosine(zero, zero)) == 0
    assert float(feature_cosine(one, zero)) == float(feature_cosine(zero, one)) == pytest.approx(1)


def test_attention_takes_any_width_and_the_others_refuse():
    teacher, student = torch.rand(2, 6, 4, 4), torch.rand(2, 3, 4, 4)
    assert feature_attention(teacher, student).isfinite()
    with pytest.raises(TrainingError, match=r"\(2, 6, 4, 4\) and \(2, 3, 4, 4\)"):
        feature_mse(teacher, student)
    with pytest.raises(TrainingError, match="can't be compared"):
        feature_attention(teacher, torch.rand(2, 6, 2, 2))
