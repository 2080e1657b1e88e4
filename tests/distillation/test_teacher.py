"""The teacher scores a clip once, alone, and remembers it over a restart."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressvqa.distillation import Teacher


class Counting(nn.Module):
    """A tiny full-reference network that counts the clips it has seen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.5)
        self.clips = 0

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        self.clips += len(reference)
        error = self.features(reference.flatten(0, 1)) - self.features(distorted.flatten(0, 1))
        return -self.dropout(error).square().mean((1, 2, 3)).unflatten(0, reference.shape[:2]).mean(1)


def clips(*seeds: int) -> tuple[list[Tensor], list[str]]:
    made = [torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return [torch.stack([clip[which] for clip in made]) for which in (0, 1)], [f"clip-{seed}" for seed in seeds]


def test_a_clip_is_scored_once(tmp_path: Path) -> None:
    network = Counting()
    teacher = Teacher(network, tmp_path)
    first = teacher(*clips(1, 2, 3)).scores
    second = teacher(*clips(3, 1, 4, 3)).scores
    assert network.clips == 4
    assert first is not None and second is not None
    assert torch.equal(second[[1, 0]], first[[0, 2]]) and second[0] == second[3]


def test_a_restarted_teacher_remembers(tmp_path: Path) -> None:
    before = Teacher(Counting(), tmp_path)
    scores = before(*clips(1, 2)).scores
    before.state_dict()  # what the training loop calls at a checkpoint
    network = Counting()
    again = Teacher(network, tmp_path)(*clips(2, 1)).scores
    assert network.clips == 0 and scores is not None and again is not None
    assert torch.equal(again, scores.flip(0))


def test_another_network_is_not_answered_for(tmp_path: Path) -> None:
    teacher = Teacher(Counting(), tmp_path)
    teacher(*clips(1))
    teacher.state_dict()
    other = Counting()
    with torch.no_grad():
        other.features.weight.mul_(2)
    Teacher(other, tmp_path)(*clips(1))
    assert other.clips == 1


def test_a_score_does_not_depend_on_its_company() -> None:
    alone = Teacher(Counting(), None)(*clips(5)).scores
    company = Teacher(Counting(), None)(*clips(1, 2, 5, 3)).scores
    assert alone is not None and company is not None and torch.equal(alone[0], company[2])


def test_it_is_frozen_and_leaves_no_graph() -> None:
    network = Counting()
    scores = Teacher(network, None)(*clips(1, 2)).scores
    assert scores is not None and not scores.requires_grad
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("size", [1, 3])
def test_features_come_with_the_scores(size: int) -> None:
    network = Counting()
    inputs, keys = clips(*range(size))
    answer = Teacher(network, None, features=["features"])(inputs, keys)
    assert answer.scores is not None
    assert torch.allclose(answer.scores, network(*inputs))
    expected = torch.cat([network.features(value.flatten(0, 1)) for value in inputs])
    assert torch.allclose(answer.features["features"], expected, atol=1e-6)
