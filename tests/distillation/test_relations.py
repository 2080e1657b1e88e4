import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import normalize

from compressvqa.distillation.relations import relation_angle, relation_distance
from compressvqa.distillation.similarity import correlation_congruence, similarity_preserving
from compressvqa.errors import TrainingError

GENERATOR = np.random.default_rng(0)
T, S = GENERATOR.normal(size=(6, 3, 4)), GENERATOR.normal(size=(6, 5, 2, 2))
FLAT = T.reshape(6, -1), S.reshape(6, -1)


def huber(difference):
    size = np.abs(difference)
    return np.where(size < 1, size**2 / 2, size - 0.5)


def ours(loss, *items, **settings):
    return float(loss(*(torch.tensor(x) for x in items or (T, S)), **settings))


def test_distances_equal_scipys():
    t, s = (pdist(x) / pdist(x).mean() for x in FLAT)
    assert ours(relation_distance) == pytest.approx(huber(t - s).mean(), rel=1e-12)


def naive_angles(items):
    """The paper's form: unit vectors e_ij, e_kj, and their product, one triplet after the other."""
    cosines = []
    for i, j, k in itertools.permutations(range(len(items)), 3):
        a, b = items[i] - items[j], items[k] - items[j]
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.array(cosines)


def test_angles_equal_the_papers_form():
    t, s = (naive_angles(x) for x in FLAT)
    assert ours(relation_angle) == pytest.approx(huber(t - s).mean(), rel=1e-10)


def test_relations_do_not_see_scale_place_or_rotation():
    turn = np.linalg.qr(GENERATOR.normal(size=(12, 12)))[0]
    moved = 3 * FLAT[0] @ turn + 5
    for loss in (relation_distance, relation_angle):
        assert ours(loss, T, moved) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("loss", [relation_distance, relation_angle])
def test_items_that_coincide_give_finite_gradients(loss):
    for items in (torch.zeros(4, 3), torch.ones(4, 3), torch.tensor([[1.0], [1.0], [2.0], [2.0]])):
        student = items.clone().requires_grad_()
        loss(torch.randn(4, 5), student).backward()
        assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", [relation_distance, relation_angle])
def test_near_items_of_a_large_level_keep_their_relation_in_single_precision(loss):
    far = torch.tensor(FLAT[0]).float() * 0.1 + 100  # a matrix product would lose them: 100^2 against 0.1^2
    assert float(loss(far, far.double())) == pytest.approx(0, abs=1e-12)
    assert float(loss(torch.tensor(FLAT[0]), far)) < 1e-6


def test_similarity_preserving_equals_sklearns_norms():
    t, s = (normalize(x @ x.T) for x in FLAT)
    assert ours(similarity_preserving) == pytest.approx(((t - s) ** 2).sum() / 36, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.4, 2.0])
def test_correlation_congruence_equals_sklearns_kernel(gamma):
    t, s = (rbf_kernel(normalize(x), gamma=gamma) for x in FLAT)
    assert ours(correlation_congruence, gamma=gamma) == pytest.approx(((t - s) ** 2).sum() / 36, rel=1e-10)


def test_the_series_of_the_paper_leads_to_the_kernel():
    t, s = (normalize(x) for x in FLAT)
    by_hand = [np.exp(-0.8) * (1 + 0.8 * x @ x.T + 0.32 * (x @ x.T) ** 2) for x in (t, s)]
    assert ours(correlation_congruence, order=2) == pytest.approx(np.mean((by_hand[0] - by_hand[1]) ** 2), rel=1e-12)
    exact = ours(correlation_congruence)
    errors = [abs(ours(correlation_congruence, order=order) - exact) for order in (1, 2, 4, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9


def test_mistakes_are_named():
    with pytest.raises(TrainingError, match=r"\(6, 3, 4\) and \(5, 3, 4\)"):
        ours(relation_angle, T, T[:5])
    with pytest.raises(TrainingError, match="gamma 0"):
        ours(correlation_congruence, gamma=0.0)
    with pytest.raises(TrainingError, match="order 0"):
        ours(correlation_congruence, order=0)
