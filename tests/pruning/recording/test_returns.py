"""What a network would return in another case keeps its channels; what goes into a layer there does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compressvqa.pruning import prune

PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Scorer(nn.Module):
    """Features, then a score."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)
        self.head = nn.Linear(16, 1)

    def features(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()).relu()


class Choice(Scorer):
    """A conditional expression."""

    def forward(self, x: Tensor, ask: bool = False):
        y = self.features(x)
        score = self.head(y.mean((2, 3)))
        return (score, y) if ask else score


class Early(Scorer):
    """A return before the end."""

    def forward(self, x: Tensor, ask: bool = False):
        y = self.features(x)
        if ask:
            return y
        return self.head(y.mean((2, 3)))


class Pooled(Scorer):
    """What is worked out only there."""

    def forward(network, x: Tensor, ask: bool = False):  # noqa: N805
        y = network.features(x)
        if ask:
            pooled = y.mean((2, 3))
            return {"pooled": pooled}
        return network.head(y.mean((2, 3)))


class OneLine(Scorer):
    """All of it on one line."""

    def forward(self, x: Tensor, ask: bool = False):
        y = self.features(x)
        if ask: return y  # noqa: E701  # fmt: skip
        return self.head(y.mean((2, 3)))


class TwoHeads(Scorer):
    """Another way to the same score: the features go into the head, and nowhere else."""

    def forward(self, x: Tensor):
        y = self.features(x)
        if x.shape[-1] > 64:
            return self.head(y.amax((2, 3)))
        return self.head(y.mean((2, 3)))


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


@pytest.mark.parametrize("kind", [Choice, Early, Pooled, OneLine])
def test_what_it_would_return_is_kept(kind):
    network = built(kind)
    pruned = prune(network, PICTURE, ratios=0.5)
    assert set(pruned.removed) == {"first"}
    assert "another return of the forward (test_returns.py:" in pruned.plan.frozen["second"]
    one, other = (net(PICTURE, True) for net in (network, pruned.model))
    shape = [tuple(t.shape) for t in torch.utils._pytree.tree_leaves(one)]
    assert [tuple(t.shape) for t in torch.utils._pytree.tree_leaves(other)] == shape


@pytest.mark.parametrize("kind", [Choice, Early, Pooled, OneLine])
def test_with_an_example_of_each_it_is_an_output_like_the_score(kind):
    pruned = prune(built(kind), [(PICTURE,), (PICTURE, True)], ratios=0.5)
    assert set(pruned.removed) == {"first"}
    assert pruned.plan.frozen["second"] == "the network returns these channels"


def test_what_only_goes_into_a_layer_is_cut():
    pruned = prune(built(TwoHeads), PICTURE, ratios=0.5)
    assert set(pruned.removed) == {"first", "second"}
    large = torch.rand(1, 3, 72, 72, generator=torch.Generator().manual_seed(1))
    assert pruned.model(large).shape == (1, 1)
