"""The ranking objective against the formula written out."""

import math
from types import SimpleNamespace

import pytest
import torch

from compressvqa.errors import TrainingError
from compressvqa.training import RankPairsObjective


def test_the_loss_is_the_cross_entropy_of_the_margin() -> None:
    objective = RankPairsObjective(RankPairsObjective.Config())
    a, b, better = [1.0, -2.0, 0.5], [0.0, 1.0, 0.25], [1.0, 1.0, 0.0]
    loss = objective.loss(torch.tensor(a + b), SimpleNamespace(better_a=torch.tensor(better)))
    p = [1 / (1 + math.exp(y - x)) for x, y in zip(a, b, strict=True)]
    naive = -sum(t * math.log(q) + (1 - t) * math.log(1 - q) for t, q in zip(better, p, strict=True)) / 3
    assert abs(loss.item() - naive) < 1e-6


def test_every_comparison_of_a_batch_counts_by_its_weight() -> None:
    objective = RankPairsObjective(RankPairsObjective.Config(pairs="all"))
    scores = [1.0, -2.0, 0.5, 0.25]
    preferred = torch.tensor([[0.5, 0.9, 1.0, 0.6], [0.1, 0.5, 0.2, 0.3], [0.0, 0.8, 0.5, 0.5], [0.4, 0.7, 0.5, 0.5]])
    weight = torch.tensor([[0.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.25, 1.0], [0.5, 0.25, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    loss = objective.loss(torch.tensor(scores), SimpleNamespace(preferred=preferred, weight=weight))
    total = norm = 0.0
    for i in range(4):
        for j in range(i):
            p, t, w = 1 / (1 + math.exp(scores[j] - scores[i])), preferred[i, j].item(), weight[i, j].item()
            total, norm = total - w * (t * math.log(p) + (1 - t) * math.log(1 - p)), norm + w
    assert abs(loss.item() - total / norm) < 1e-6


def test_drawn_pairs_count_by_their_weights() -> None:
    objective = RankPairsObjective(RankPairsObjective.Config())
    weight = torch.zeros(4, 4)
    weight[0, 2], weight[1, 3] = 1.0, 0.25
    batch = SimpleNamespace(better_a=torch.tensor([1.0, 0.6]), weight=weight)
    loss = objective.loss(torch.tensor([1.0, 0.0, 0.5, 0.0]), batch)
    assert abs(loss.item() - (math.log(1 + math.exp(-0.5)) + 0.25 * math.log(2)) / 1.25) < 1e-6


def test_comparing_all_needs_data_that_knows_them() -> None:
    objective = RankPairsObjective(RankPairsObjective.Config(pairs="all"))
    with pytest.raises(TrainingError, match="pairs: drawn"):
        objective.loss(torch.zeros(4), SimpleNamespace(better_a=torch.ones(2)))


def test_inputs_keys_and_margins_keep_the_order() -> None:
    objective = RankPairsObjective(RankPairsObjective.Config())
    clips = [torch.full((2, 1, 3, 4, 4), value) for value in (1.0, 2.0, 3.0, 4.0)]
    batch = SimpleNamespace(
        reference_a=clips[0], distorted_a=clips[1], reference_b=clips[2], distorted_b=clips[3],
        keys_a=["p", "q"], keys_b=["r", "s"],
    )  # fmt: skip
    reference, distorted = objective.inputs(batch)
    assert reference[:, 0, 0, 0, 0].tolist() == [1, 1, 3, 3] and distorted[:, 0, 0, 0, 0].tolist() == [2, 2, 4, 4]
    assert objective.keys(batch) == ["p", "q", "r", "s"]
    assert objective.margins(torch.tensor([5.0, 6.0, 1.0, 4.0])).tolist() == [4.0, 2.0]
