import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy, zscore

from compressvqa.distillation.logits import logit_kl, logit_multi_level
from compressvqa.errors import TrainingError

GENERATOR = np.random.default_rng(0)
T, S = GENERATOR.normal(size=(2, 5, 7)) * 3


def tensors(*arrays):
    return [torch.tensor(array) for array in arrays]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("standardise", [False, True])
def test_kl_equals_scipys(temperature, standardise):
    t, s = (zscore(x, axis=1) if standardise else x for x in (T, S))
    rows = entropy(softmax(t / temperature, axis=1), softmax(s / temperature, axis=1), axis=1)
    ours = logit_kl(*tensors(T, S), temperature=temperature, standardise=standardise)
    assert float(ours) == pytest.approx(temperature**2 * rows.mean(), rel=1e-12)


def test_at_a_high_temperature_it_is_half_the_squared_difference_of_centred_logits():
    """Hinton et al., section 2.1."""
    centred = [x - x.mean(1, keepdims=True) for x in (T, S)]
    expected = ((centred[0] - centred[1]) ** 2).mean(1).mean() / 2
    assert float(logit_kl(*tensors(T, S), temperature=1e4)) == pytest.approx(expected, rel=1e-3)


def test_scores_are_one_row_over_the_clips_of_the_batch():
    for loss in (logit_kl, logit_multi_level):
        assert torch.equal(loss(*tensors(T[0], S[0])), loss(*tensors(T[:1], S[:1])))


def gram(rows):
    return np.einsum("ik,jk->ij", rows, rows)


def test_multi_level_written_another_way():
    total = 0.0
    for temperature in (2, 3, 4, 5, 6):
        p, q = softmax(T / temperature, axis=1), softmax(S / temperature, axis=1)
        total += temperature**2 * (p * np.log(p / q)).sum() / 5
        total += ((gram(p) - gram(q)) ** 2).sum() / 5 + ((gram(p.T) - gram(q.T)) ** 2).sum() / 7
    assert float(logit_multi_level(*tensors(T, S))) == pytest.approx(total, rel=1e-12)
    one = logit_multi_level(*tensors(zscore(T, axis=1), zscore(S, axis=1)), temperatures=[3.0])
    assert torch.allclose(one, logit_multi_level(*tensors(T, S), temperatures=[3.0], standardise=True))


def test_standardised_rows_are_blind_to_scale_and_a_row_of_two_to_all_but_the_order():
    t, s = tensors(T, S)
    assert torch.allclose(logit_kl(t, s, standardise=True), logit_kl(5 * t + 1, s / 7 - 2, standardise=True))
    margin = torch.tensor([0.3, 4.0], dtype=torch.float64, requires_grad=True)
    rows = torch.stack([margin / 2, -margin / 2], 1)
    value = logit_kl(torch.tensor([[5.0, -5.0], [0.1, -0.1]]).double(), rows, standardise=True)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12) and margin.grad.abs().max() < 1e-12


def test_mistakes_are_named():
    for loss in (logit_kl, logit_multi_level):
        with pytest.raises(TrainingError, match=r"not \(3,\) and \(4,\)"):
            loss(torch.zeros(3), torch.zeros(4))
    with pytest.raises(TrainingError, match="temperature is 0"):
        logit_kl(*tensors(T, S), temperature=0.0)
    with pytest.raises(TrainingError, match="temperature is -1"):
        logit_multi_level(*tensors(T, S), temperatures=(2.0, -1.0))
    with pytest.raises(TrainingError, match="no temperature"):
        logit_multi_level(*tensors(T, S), temperatures=())
