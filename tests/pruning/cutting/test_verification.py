"""The verifier against pruning by hand, and against mistakes that it must see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import find_groups, prune, trace
from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.check import Proof
from compressvqa.pruning.dependency.group import Slot


def test_pruning_equals_pruning_by_hand() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2)
    )
    net[1].running_mean.normal_()
    net.eval()
    x = torch.randn(2, 3, 8, 8)
    pruned = prune(net, (x,), ratios={"0": 0.25, "3": 0.5}, importance="random", seed=5)
    first = [i for i in range(8) if i not in pruned.removed["0"]]
    second = [i for i in range(4) if i not in pruned.removed["3"]]
    assert (len(first), len(second)) == (6, 2)
    y = F.conv2d(x, net[0].weight[first], net[0].bias[first])
    stats = net[1].running_mean[first], net[1].running_var[first]
    y = F.batch_norm(y, *stats, net[1].weight[first], net[1].bias[first]).relu()
    y = F.conv2d(y, net[3].weight[second][:, first], net[3].bias[second])
    columns = [c * 16 + p for c in second for p in range(16)]
    y = F.linear(y.flatten(1), net[5].weight[:, columns], net[5].bias)
    torch.testing.assert_close(pruned.model.eval()(x), y)
    assert isinstance(pruned.model[0], nn.Conv2d)
    assert pruned.model[5].in_features == 32


class Scaled(nn.Module):
    """A branch that is scaled by almost nothing, as transformers start, and a head that starts at zero."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = nn.Linear(3, 4), nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 1)
        self.scale = nn.Parameter(torch.full((4,), scale))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.scale * self.b(self.a(x).relu()))


@pytest.mark.parametrize("scale", [1.0, 1e-7, 0.0])
def test_a_mistake_is_seen_behind_any_scale(scale: float) -> None:
    torch.manual_seed(0)
    net, inputs = Scaled(scale), (torch.randn(5, 3),)
    facts = trace(net, inputs)
    (group,) = (g for g in find_groups(facts) if g.name == "a")
    right = Cut(group, (1, 4))
    assert Proof(net, facts, inputs, 0).verdict([right], []).passed
    # The same channels at the producer, others at the reader: it runs, and is wrong.
    slots = tuple(replace(s, indices=s.indices[::-1]) if s.role == "in" else s for s in group.slots)
    wrong = Cut(replace(group, slots=slots), (1, 3))
    verdict = Proof(net, facts, inputs, 0).verdict([wrong], [])
    assert not verdict.passed
    assert verdict.failure is None


def test_a_slot_that_was_forgotten_is_seen() -> None:
    torch.manual_seed(0)
    net, inputs = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2)), (torch.randn(5, 3),)
    facts = trace(net, inputs)
    group = find_groups(facts)[0]
    kept: list[Slot] = [s for s in group.slots if s.role != "in"]
    assert Proof(net, facts, inputs, 0).verdict([Cut(replace(group, slots=tuple(kept)), (0,))], []).failure is not None


def test_a_hidden_number_is_found_and_said() -> None:
    class Hidden(nn.Module):
        """Two groups of equal width, of which a hidden number fits one; a third has nothing to do with it."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.b(self.a(x)).reshape(-1, 6)
            return self.d(self.c(y))

    pruned = prune(Hidden(), (torch.randn(4, 3),), ratios=0.5)
    assert set(pruned.removed) == {"a", "c"}
    assert "does not run" in pruned.plan.frozen["b"]
    assert any(note.startswith("b: kept whole after all") for note in pruned.plan.notes)


def test_a_number_that_only_changes_values_is_found() -> None:
    class Divides(nn.Module):
        """Divides by its width: the pruned network runs, but is not the zeroed one."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.c(self.b(y / y.shape[1]))

    pruned = prune(Divides(), (torch.randn(4, 3),), ratios=0.5)
    assert set(pruned.removed) == {"b"}
    assert "off by" in pruned.plan.frozen["a"]


def test_groups_that_only_go_together_are_not_blamed_for_another() -> None:
    class Net(nn.Module):
        """The widths of two layers depend on each other; features are divided by the root of a later layer's width."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.stem, self.qkv = nn.Linear(3, 8), nn.Linear(8, 16), nn.Linear(16, 48)
            self.proj, self.tail, self.head = nn.Linear(16, 16), nn.Linear(16, 12), nn.Linear(12, 12)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(self.first(x).relu())
            b, n, c = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, 4, c // 4).unbind(2)
            y = self.tail(x + self.proj((q * k + v).flatten(2))).relu()
            return self.head(y / y.shape[2] ** 0.5).pow(2).sum(2).mean(1)

    torch.manual_seed(4)
    net, x = Net().eval(), torch.randn(2, 5, 3)
    assert len({g.coupling for g in find_groups(trace(net, (x,))) if g.coupling is not None}) == 1
    pruned = prune(net, (x,), ratios=0.5)
    assert [note.partition(":")[0] for note in pruned.plan.notes if "kept whole after all" in note] == ["tail"]
    assert {"first", "stem", "qkv", "head"} <= set(pruned.removed)


def test_nothing_to_prune_is_an_error_that_names_the_layers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1))
    with pytest.raises(PruneError, match=r"no channel can be removed: 0: .*softmax"):
        prune(net, (torch.randn(1, 3, 8, 8),), ratios=0.5)
    with pytest.raises(PruneError, match="no convolution or linear layer"):
        prune(nn.ReLU(), (torch.randn(1, 3),), ratios=0.5)
    with pytest.raises(PruneError, match="nothing would be removed"):
        prune(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)), (torch.randn(1, 2),), ratios=0.0)


class Hidden(nn.Module):
    """A mistake that no output shows: the branch with it is weighted by zero, or saturates."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.a, self.b = form, nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("gate", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return x.sum() + y.sum() * self.gate if self.form == "gate" else (1e4 + y).sigmoid()


@pytest.mark.parametrize("form", ["gate", "saturated"])
def test_layers_are_compared_where_the_output_hides_them(form: str) -> None:
    torch.manual_seed(0)
    net, x = Hidden(form), (torch.randn(5, 4),)
    facts = trace(net, x)
    (group,) = (g for g in find_groups(facts) if g.name == "a")
    assert Proof(net, facts, x, 0).verdict([Cut(group, (0, 2))], []).passed
    columns = next(s for s in group.slots if s.leaf == "b.weight")
    moved = replace(columns, indices=np.roll(columns.indices, 1, 0))
    wrong = replace(group, slots=tuple(moved if s is columns else s for s in group.slots))
    assert not Proof(net, facts, x, 0).verdict([Cut(wrong, (0, 2))], []).passed


def test_what_a_forward_keeps_on_itself_is_as_before() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.mean = nn.Linear(4, 6), nn.Linear(6, 3), None

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            if self.mean is None:
                self.mean = y.mean(0)
            return self.b(y - self.mean)

    torch.manual_seed(0)
    net = Remembers()
    pruned = prune(net, (torch.randn(5, 4),), ratios=0.5)
    assert net.mean is None and pruned.model.mean is None
    assert pruned.model.a.out_features == 3


def test_a_way_that_was_not_taken_is_said() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(y.relu() if x.mean() > -9 else y.view(-1, 6))

    pruned = prune(Decides(), (torch.randn(5, 4),), ratios=0.5)
    assert any("only the way that it took was checked" in note for note in pruned.plan.notes)
