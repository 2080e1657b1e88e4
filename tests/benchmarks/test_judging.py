"""The coverage benchmark's judge against networks whose answer is known: it must see every way of being wrong."""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

from pruning_coverage.judging import Call, Snapshot, UnjudgedError, distinct, judge, kept_elements
from pruning_coverage.judging.judge import nudged

torch.set_num_threads(1)
KEPT = [0, 2, 3, 6, 7]


class Net(nn.Module):
    """Two convolutions with a normalisation between them; `score` makes a number of the second one's map."""

    def __init__(self, norm: nn.Module | None = None, score: str = "head") -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3, padding=1), norm or nn.Identity(), nn.Conv2d(8, 6, 3, padding=1)
        self.head, self.score = nn.Linear(6, 1), score
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.a(x).relu())
        if self.score == "mean of a":
            return 50 + 0.01 * y.mean((1, 2, 3))
        if self.score == "faint":
            return self.gain * y.mean((1, 2, 3), keepdim=True) * self.a.weight.shape[0] + self.head(
                self.b(y).mean((2, 3))
            )
        if self.score == "large only" and x.shape[-2] > 8:
            y = y * 2
        return self.head(self.b(y).relu().mean((2, 3)))


def calls() -> list[Call]:
    dice = torch.Generator().manual_seed(3)
    return [Call((torch.rand(shape, generator=dice),)) for shape in ((2, 3, 6, 6), (1, 3, 10, 7))]


def original(**settings) -> Net:
    torch.manual_seed(0)
    return distinct(Net(**settings).eval())


def cut(model: Net, out: list[int] = KEPT, read: list[int] = KEPT) -> Net:
    """A copy without the channels of `a` that are not in `out`; `b` reads those of `read`."""
    small = copy.deepcopy(model)
    small.a.weight, small.a.bias = nn.Parameter(model.a.weight[out]), nn.Parameter(model.a.bias[out])
    small.b.weight = nn.Parameter(model.b.weight[:, read])
    norm = small.norm
    for name in ("weight", "bias"):
        if getattr(norm, name, None) is not None:
            setattr(norm, name, nn.Parameter(getattr(norm, name)[out]))
    if isinstance(norm, nn.GroupNorm):
        norm.num_channels = len(out)
    return small


def test_a_right_pruning_is_right():
    model = original()
    verdict = judge(model, cut(model), calls())
    assert (verdict.outcome, verdict.calls) == ("right", 2)


@pytest.mark.parametrize(
    "read", [[0, 1, 3, 6, 7], [2, 0, 3, 6, 7], [7, 6, 3, 2, 0]], ids=["another channel", "two swapped", "turned around"]
)
def test_the_wrong_channels_are_seen(read):
    model = original()
    assert judge(model, cut(model, read=read), calls()).outcome == "silently wrong"


def test_a_small_fault_is_no_rounding():
    """Below a thousandth of the movement the judge looks at what rounding does; a fault stays one."""
    model = original(score="faint")
    small = cut(model)
    small.gain = 1 + 1e-4
    verdict = judge(model, small, calls())
    assert verdict.outcome == "silently wrong" and verdict.error < 1e-3


def test_what_stands_for_rounding_changes_weights_by_no_more():
    model = original().double()
    other = nudged(model)
    for before, after in zip(model.parameters(), other.parameters(), strict=True):
        if before.numel() > 1:
            assert 0 < int((before != after).sum()) < before.numel()
            assert bool(((before - after).abs() <= before.abs() * 4.5e-16).all())


def test_a_permutation_of_both_sides_is_right():
    model = original()
    turned = KEPT[::-1]
    assert judge(model, cut(model, out=turned, read=turned), calls()).outcome == "right"


def test_a_divisor_that_follows_the_width_is_seen_behind_a_large_offset():
    model = original(score="mean of a")
    assert judge(model, cut(model), calls()).outcome == "silently wrong"


def test_a_scale_that_changed_is_seen():
    model = original(score="large only")
    small = cut(model)
    small.score = "head"  # right for the small picture, and not for the large one
    assert judge(model, small, calls()).outcome == "silently wrong"
    assert judge(model, small, calls()[:1]).outcome == "right"


def test_weights_that_changed_are_not_taken_for_a_pruning():
    model = original()
    small = cut(model)
    with torch.no_grad():
        small.head.weight *= 1.1
    verdict = judge(model, small, calls())
    assert verdict.outcome == "not judged" and "head.weight" in verdict.said


def test_a_network_that_does_not_run_is_broken():
    model = original()
    assert judge(model, cut(model, read=KEPT[:4]), calls()).outcome == "broken"


def test_nothing_removed():
    model = original()
    assert judge(model, copy.deepcopy(model), calls()).outcome == "nothing removed"


def test_an_output_that_feels_nothing_is_not_judged():
    model = original()
    with torch.no_grad():
        model.head.weight.mul_(0)
    assert judge(model, cut(model), calls()).outcome == "not judged"


class LayerNormOverChannels(nn.Module):
    """By hand, as people write it for maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        return (x - mean) / (var + 1e-5).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]


class PlainNorm(nn.Module):
    """Layer norm over channels without a weight."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1)


class Deviation(nn.Module):
    """No normalisation: a deviation over channels, multiplied in."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.std(1, keepdim=True)


@pytest.mark.parametrize(
    "norm", [LayerNormOverChannels(8), PlainNorm(), nn.GroupNorm(1, 8)], ids=["hand", "plain", "group"]
)
def test_a_normalisation_counts_the_channels_that_are_left(norm):
    model = original(norm=norm)
    assert judge(model, cut(model), calls()).outcome == "right"


def test_any_other_statistic_counts_zeros():
    model = original(norm=Deviation())
    assert judge(model, cut(model), calls()).outcome == "silently wrong"


def test_uneven_groups_of_a_group_norm_are_seen():
    model = original(norm=nn.GroupNorm(2, 8))
    even, uneven = [0, 1, 2, 5, 6, 7], [0, 1, 4, 5, 6, 7]
    assert judge(model, cut(model, even, even), calls()).outcome == "right"
    assert judge(model, cut(model, uneven, uneven), calls()).outcome == "silently wrong"


def test_other_methods_and_training_are_called():
    class Both(Net):
        factor = 2

        def twice(self, x: Tensor) -> Tensor:
            return self.factor * self(x)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + float(self.training)

    torch.manual_seed(0)
    model = distinct(Both().eval())
    small = cut(model)
    small.factor = 1
    args = calls()[0].args
    assert judge(model, small, [Call(args), Call(args, train=True)]).outcome == "right"
    assert judge(model, small, [Call(args), Call(args, "twice")]).outcome == "silently wrong"


def test_elements_are_found_again_by_their_values():
    before = torch.randperm(60).float().view(3, 4, 5)
    after = before[[0, 2]][:, [1, 3]]
    kept = kept_elements(before, after)
    assert torch.equal(before[kept], after.flatten())
    with pytest.raises(UnjudgedError, match="does not"):
        kept_elements(before, after + 0.5)
    with pytest.raises(UnjudgedError, match="can't be told apart"):
        kept_elements(torch.ones(4), torch.ones(2))
    large = torch.randn(500, 400)
    assert torch.equal(large[kept_elements(large, large[::2, 1::3])], large[::2, 1::3].flatten())


def test_a_block_is_found_where_a_line_of_it_holds_equal_values():
    dice = torch.Generator().manual_seed(0)
    before = torch.randint(0, 4000, (300, 2000), generator=dice).float()
    rows, columns = (torch.randperm(n, generator=dice)[: n // 3].sort().values for n in before.shape)
    wanted = torch.zeros(before.shape, dtype=torch.bool)
    wanted[rows[:, None], columns] = True
    after = before[rows][:, columns]
    assert torch.equal(kept_elements(before, after), wanted)
    after[5, 7] += 1
    with pytest.raises(UnjudgedError):
        kept_elements(before, after)


def test_values_are_distinct_and_keep_their_order():
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    order = model[0].weight.flatten().argsort()
    distinct(model)
    for tensor in [*model.parameters(), model[1].running_mean, model[1].running_var]:
        assert len(tensor.unique()) == tensor.numel() and bool((tensor != 0).all())
    assert torch.equal(model[0].weight.flatten().argsort(), order)


def test_traces_are_seen():
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_buffer("queue", torch.zeros(3))
    model.log, model.calls = [torch.zeros(2)], 0
    before = Snapshot(model)
    assert before.changed(model) == []
    model.queue += 1
    model.log.append(torch.ones(2))
    model.calls += 1
    torch.rand(1), random.random(), np.random.rand()
    said = " ".join(before.changed(model))
    assert all(word in said for word in ("queue", "log", "calls", "torch's", "Python's", "NumPy's"))
