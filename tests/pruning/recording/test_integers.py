"""Numbers in a forward: where they come from, and what they say about widths."""

from __future__ import annotations

import copy
import functools
import pickle

import einops
import pytest
import torch
from torch import Tensor, nn

from compressvqa.pruning import find_groups, prune, trace
from compressvqa.pruning.recording.integers import Attribute, Int, evaluate, leaves, origin_of
from compressvqa.pruning.recording.places import tagged

HEADS = Attribute("block", "heads", 6)


def test_sums_and_products_keep_their_origin() -> None:
    heads = Int(6, HEADS)
    number = (3 * heads - 2) // 4 + heads % 4
    assert number == (3 * 6 - 2) // 4 + 6 % 4
    assert evaluate(origin_of(number), lambda leaf: 10) == (3 * 10 - 2) // 4 + 10 % 4
    assert set(leaves(origin_of(number))) == {HEADS}
    assert type(heads**-0.5) is float
    assert type(int(heads)) is int


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda number: pickle.loads(pickle.dumps(number))])
def test_copies_are_plain(copied) -> None:
    assert type(copied(Int(6, HEADS))) is int


def test_attributes_are_plain_again_afterwards_also_what_the_forward_kept() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width, self.parts, self.last = 8, [4, 4], None
            self.layer = nn.Linear(3, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            self.last = tuple(y.shape)
            return y.view(-1, self.width)

    net = Keeps()
    parts = net.parts
    with tagged(net):
        assert isinstance(net.width, Int) and isinstance(net.parts[0], Int)
        net(torch.randn(2, 3))
    assert type(net.width) is int and net.parts is parts
    trace(net, (torch.randn(2, 3),))
    assert all(type(size) is int for size in net.last)


class Folds(nn.Module):
    """Two attentions-like folds of one size by einops, which keeps computed sizes under the sizes of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 4
        self.layer, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = einops.rearrange(self.layer(x), "b n (h d) -> b h n d", h=self.heads)
        y = (y @ y.transpose(-2, -1)) @ y
        return self.head(einops.rearrange(y, "b h n d -> b n (h d)"))


def test_einops_gives_the_sizes_of_this_call() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Folds(), nn.Linear(2, 3), Folds())
    pruned = prune(net, (torch.randn(2, 5, 3),), ratios={"0.layer": 0.5, "2.layer": 0.25}, attention="heads")
    assert (pruned.model[0].heads, pruned.model[2].heads) == (2, 3)


def split_list(self, y: Tensor) -> Tensor:
    return torch.cat([part * k for k, part in enumerate(y.split(self.parts, 1), 1)], 1)


def first_share(self, y: Tensor) -> Tensor:
    fold = y.shape[1] // 4
    return torch.cat([y[:, :fold].relu(), y[:, fold:]], 1)


def eight(self, y: Tensor) -> Tensor:
    return torch.cat([y[:, :8].relu(), y[:, 8:]], 1)


def last_eight(self, y: Tensor) -> Tensor:
    return torch.cat([y[:, :-8], y[:, -8:].relu()], 1)


class Numbered(nn.Module):
    def __init__(self, middle) -> None:
        super().__init__()
        self.parts, self.width = [4, 12], 16
        self.a, self.b, self.middle = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 2, 1), functools.partial(middle, self)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.middle(self.a(x)))


@pytest.mark.parametrize(
    ("middle", "free", "kept"),
    [
        (split_list, {4: None, 12: None}, 0),  # the list follows, each part by itself
        (first_share, {4: "a#1", 12: "a#1"}, 0),  # a quarter stays a quarter
        (eight, {8: None}, 8),  # the plain number keeps what it counts
        (last_eight, {8: None}, 8),
    ],
)
def test_parts_by_number(middle, free: dict[int, str | None], kept: int) -> None:
    torch.manual_seed(0)
    net, x = Numbered(middle), (torch.randn(2, 3, 4, 4),)
    net.middle = functools.partial(middle, net)
    groups = [g for g in find_groups(trace(net, x)) if "a" in g.producers]
    assert {g.channels: g.coupling for g in groups if g.frozen is None} == free
    assert sum(g.channels for g in groups if g.frozen) == kept


def test_a_list_of_widths_is_set_anew() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [4, 12]
            self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(12, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.a(x).split(self.parts, 1)
            return self.b(first) + self.c(second)

    torch.manual_seed(0)
    net = Split()
    pruned = prune(net, (torch.randn(2, 3, 4, 4),), ratios=0.5)
    assert pruned.model.parts == [2, 6]
    assert net.parts == [4, 12]


def test_an_attribute_counts_channels_elsewhere_too() -> None:
    """One number, two layers: their widths become one bundle, whichever channels go."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = 8
            self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            first = self.c(self.a(x).reshape(len(x), self.width))
            return first + self.c(self.b(x).reshape(len(x), self.width).flip(1))

    torch.manual_seed(0)
    pruned = prune(Twice(), (torch.randn(4, 3),), ratios=0.5)
    assert pruned.model.width == pruned.model.a.out_features == pruned.model.b.out_features == 4


def test_a_forward_that_does_not_bear_such_numbers_is_traced_without() -> None:
    class Numpy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(torch.from_numpy(x.numpy() * x.shape[1])))

    pruned = prune(Numpy(), (torch.randn(4, 3),), ratios=0.5)
    assert pruned.model.a.out_features == 4
