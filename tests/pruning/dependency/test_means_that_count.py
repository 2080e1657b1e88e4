"""A mean over channels is taken for a normalisation only where it is one, at every end; else the channels stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.pruning import find_groups, trace

CLIP = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Scorer(nn.Module):
    """Eight channels of features of one or two pictures, and a way to make a score of them."""

    def __init__(self, score: Callable[..., Tensor], *, pictures: int = 1) -> None:
        super().__init__()
        self.score, self.pictures = score, pictures
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        self.weight = nn.Parameter(torch.rand(8) + 0.5)

    def forward(self, *pictures: Tensor) -> Tensor:
        return self.score(self, *(self.stem(p).relu() for p in pictures))


def rms(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def hand_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


KEPT = {
    "the mean is the score": lambda s, x: x.mean((1, 2, 3)),
    "scaled": lambda s, x: 100 * x.mean((1, 2, 3)),
    "clamped": lambda s, x: x.mean((1, 2, 3)).clamp(0, 1),
    "scaled and shifted": lambda s, x: x.mean((1, 2, 3)) * 3 + 50,
    "root mean square": lambda s, x: x.pow(2).mean((1, 2, 3)).sqrt(),
    "mean over channels, then a layer": lambda s, x: F.conv2d(x.mean(1, keepdim=True), s.weight[:4].view(4, 1, 1, 1)),
    "deviation": lambda s, x: x.std((1, 2, 3)),
    "variance, rooted": lambda s, x: (x.var(1) + 1e-6).sqrt().mean((1, 2)),
    "inverse": lambda s, x: x.pow(2).mean((1, 2, 3)).rsqrt(),
    "taken off, and returned": lambda s, x: (s.head(x - x.mean(1, keepdim=True)), x.mean(1)),
    "taken off, and used": lambda s, x: s.head(x - x.mean(1, keepdim=True)) + x.mean(1, keepdim=True),
    "twice itself taken off": lambda s, x: s.head(x - 2 * x.mean(1, keepdim=True)),
    "taken off, and that is all": lambda s, x: s.head(x - x.mean(1, keepdim=True)),
    "divides as a mean": lambda s, x: s.head(x / (x.mean(1, keepdim=True) + 1)),
    "divides what it is not of": lambda s, x: s.head(x.sigmoid() / (x.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()),
    "divides as a square": lambda s, x: s.head(x / (x.pow(2).mean(1, keepdim=True) + 1e-5)),
    "one is added to its square": lambda s, x: s.head(x / (1 + x.pow(2).mean(1, keepdim=True)).sqrt()),
    "multiplies": lambda s, x: s.head(x * x.pow(2).mean(1, keepdim=True).sqrt()),
    "a norm whose result is summed up": lambda s, x: rms(x).abs().sum((1, 2, 3)),
    "a norm whose square is averaged": lambda s, x: hand_norm(x).pow(2).flatten(1).sum(1),
    "a norm that is returned": lambda s, x: rms(x).flatten(1).norm(dim=1),
}
KEPT_OF_TWO = {
    "mean difference": lambda s, x, y: (x - y).abs().mean((1, 2, 3)),
    "root mean squared difference": lambda s, x, y: (x - y).pow(2).mean((1, 2, 3)).sqrt(),
    "weighted": lambda s, x, y: ((x - y).pow(2) * s.weight.view(-1, 1, 1)).mean((1, 2, 3)),
    "offset": lambda s, x, y: 100 - 5 * (x - y).abs().mean((1, 2, 3)),
    "taken off the other": lambda s, x, y: s.head(x - y.mean(1, keepdim=True)),
    "divides the other": lambda s, x, y: s.head(x / (y.pow(2).mean(1, keepdim=True) + 1).sqrt()),
    "both normalised, then a distance": lambda s, x, y: (rms(x) - rms(y)).pow(2).sum((1, 2, 3)),
    "cosine": lambda s, x, y: (rms(x) * rms(y)).sum(1).mean((1, 2)),
    "gram": lambda s, x, y: (
        torch.bmm(hand_norm(x).flatten(2), hand_norm(y).flatten(2).transpose(1, 2)).flatten(1).sum(1)
    ),
}
CUT = {
    "layer norm, read by a layer": lambda s, x: s.head(hand_norm(x)),
    "layer norm, weighed": lambda s, x: (hand_norm(x) * s.weight.view(-1, 1, 1)).sum((1, 2, 3)),
    "rms norm, read by a layer": lambda s, x: s.head(rms(x).relu()),
    "rms norm of another type": lambda s, x: s.head(
        x * torch.rsqrt(x.double().pow(2).mean(1, keepdim=True) + 1e-6).float()
    ),
    "channels last": lambda s, x: F.linear(rms(x).permute(0, 2, 3, 1), s.head.weight.flatten(1)),
    "sum over channels": lambda s, x: x.sum((1, 2, 3)),
    "unit length": lambda s, x: F.normalize(x, dim=1).pow(2).sum(1).mean((1, 2)),
    "mean over space": lambda s, x: s.head(x).mean((2, 3)),
}


def is_kept(score: Callable[..., Tensor], pictures: int) -> bool:
    torch.manual_seed(0)
    scorer = Scorer(score, pictures=pictures)
    inputs = tuple(torch.rand_like(CLIP) for _ in range(pictures))
    (group,) = (g for g in find_groups(trace(scorer, inputs)) if g.name == "stem")
    return group.frozen is not None


@pytest.mark.parametrize("name", KEPT)
def test_a_mean_that_is_no_normalisation_keeps_its_channels(name: str) -> None:
    assert is_kept(KEPT[name], 1)


@pytest.mark.parametrize("name", KEPT_OF_TWO)
def test_a_mean_over_the_channels_of_two_pictures_keeps_them(name: str) -> None:
    assert is_kept(KEPT_OF_TWO[name], 2)


@pytest.mark.parametrize("name", CUT)
def test_a_normalisation_and_a_sum_let_channels_go(name: str) -> None:
    assert not is_kept(CUT[name], 1)


@pytest.mark.parametrize("norm", [lambda x: F.layer_norm(x, (8,)), lambda x: F.rms_norm(x, (8,))])
def test_a_layer_norm_without_weights_is_held_to_the_same(norm: Callable[[Tensor], Tensor]) -> None:
    def last(x: Tensor) -> Tensor:
        return norm(x.permute(0, 2, 3, 1))

    assert is_kept(lambda s, x, y: (last(x) - last(y)).pow(2).sum((1, 2, 3)), 2)
    assert is_kept(lambda s, x, y: F.group_norm(x, 1).sub(F.group_norm(y, 1)).abs().sum((1, 2, 3)), 2)
