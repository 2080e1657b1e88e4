"""What one example does not reach: it stays as it is, and the ways that were not taken compute what they did.

The other ways are run on the pruned network and on the original whose cut channels are zero (`reference.zeroed`); the
search for what unreached code may read has no part in that.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from pruning.reference import gone_slots, zeroed
from pruning.unreached_nets import NETS, Block, Net, conv
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from compressvqa.errors import PruneError
from compressvqa.pruning import Pruned, find_groups, prune, trace


def built(kind: Any) -> Any:
    torch.manual_seed(0)
    net = kind()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.3)
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return net.eval()


def answers(net: nn.Module, way: Any) -> list[Tensor]:
    """What a float64 network gives, called in one of its ways; dropout drops nothing."""
    net = copy.deepcopy(net).train(way == "train")
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    example = net.examples()[0] if way == "train" else way
    call = net
    if isinstance(example, tuple) and callable(example[0]) and not isinstance(example[0], Tensor):
        call, example = getattr(net, example[0].__name__), example[1]
    example = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, example)
    with torch.no_grad():
        found = call(**example) if isinstance(example, dict) else call(*example)
    return [t for t in tree_leaves(found) if isinstance(t, Tensor)]


def check(net: nn.Module, pruned: Pruned, ways: list[Any]) -> None:
    small, wanted = copy.deepcopy(pruned.model).double(), zeroed(net, gone_slots(pruned))
    for way in ways:
        torch.manual_seed(1)
        ours = answers(small, way)
        torch.manual_seed(1)
        for a, b in zip(ours, answers(wanted, way), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
            assert b.abs().max() > 1e-3, "it proves nothing"


def ways_of(net: Any) -> list[Any]:
    return [*net.examples(), *(way for way in net.also() if not isinstance(way, dict))]


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_what_did_not_run_stays_right(kind: Any) -> None:
    net = built(kind)
    facts = trace(net, net.examples()[0])
    assert tuple(map(str, facts.unreached)) == tuple(net.unreached)
    assert facts.dead == {}
    groups = find_groups(facts)
    for name in net.kept:
        (group,) = (g for g in groups if name in g.producers)
        assert re.search("did not run|returns|fixed size|not known", group.frozen or ""), name
    pruned = prune(net, net.examples()[0], ratios=0.5)
    unproven = {name for name, why in pruned.plan.frozen.items() if "unnoticed" in why}
    assert set(net.cut) <= set(pruned.removed) | unproven
    assert pruned.removed and pruned.dead == ()
    assert any(note.startswith("did not run") for note in pruned.plan.notes)
    for thing in facts.unreached:
        for leaf in thing.leaves:
            torch.testing.assert_close(pruned.model.state_dict()[leaf], net.state_dict()[leaf], rtol=0, atol=0)
    check(net, pruned, ways_of(net))


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_with_all_its_ways_it_is_cut_with_its_group(kind: Any) -> None:
    net = built(kind)
    before = copy.deepcopy(net.state_dict())
    pruned = prune(net, net.examples()[0], also=net.also(), ratios=0.5)
    assert [str(thing) for thing in pruned.trace.unreached] == (
        list(net.unreached) if kind.__name__ in ("Unmentioned", "Built") else []
    )
    check(net, pruned, ways_of(net))
    missed = re.compile("did not run")
    assert pruned.removed and not any(missed.search(why) for why in pruned.plan.frozen.values())
    assert not net.training
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_the_groups_of_unreached_parts_are_cut_with_an_example() -> None:
    net = built(Block)
    pruned = prune(net, net.examples(), ratios=0.5)
    assert {"stem", "big", "tail"} == set(pruned.removed)
    assert pruned.model.big.weight.shape == (4, 4, 3, 3)


def test_a_wrong_search_would_be_seen() -> None:
    """The comparison of this file notices a layer that was cut though the other way reads it."""
    net = built(Block)
    net.big = nn.Identity()
    pruned = prune(net, net.examples()[0], ratios=0.5)
    net.big, pruned.model.big = conv(8, 8), conv(8, 8)
    with pytest.raises((RuntimeError, AssertionError)):
        check(net, pruned, net.examples())


class Alive(Net):
    """A layer that ran and whose result nothing reads; in it, a part that did not run."""

    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.more = conv(8, 4), conv(4, 4), conv(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x).relu()
            return self.b(x) if x.shape[-1] <= 8 else self.more(x)

    def build(self) -> None:
        self.unread, self.side = conv(8, 8), self.Side()

    def part(self, x: Tensor) -> Tensor:
        self.unread(x)
        self.side(x)
        return x


def test_what_ran_and_is_not_read_goes_but_what_did_not_run_in_it_stays() -> None:
    net = built(Alive)
    pruned = prune(net, net.examples()[0], ratios=0.5)
    assert pruned.dead == ("unread",)
    assert "removed, nothing reads it: unread" in str(pruned)
    assert pruned.model.side.more.weight.shape == net.side.more.weight.shape


@pytest.mark.parametrize(
    ("also", "said"),
    [
        ([3], "a int is no way to call the network"),
        (["eval"], "'eval' is no way to call the network"),
        ("train", "also must be a list of ways to call the network, not 'train'"),
        ([(nn.Linear(1, 1).forward, ())], "Linear.forward is no method of the network"),
        ([(torch.relu, (torch.rand(1),))], "relu is no method of the network"),
        ([("train",)], "a way to call the network has a method and its arguments"),
        ([(torch.rand(1, 5, 8, 8),)], r"the forward can't be run on its example \(RuntimeError: .*\) \[also\]"),
    ],
)
def test_mistakes_are_told(also: Any, said: str) -> None:
    net = built(Block)
    with pytest.raises(PruneError, match=said.replace(r" \[also\]", "")):
        prune(net, net.examples()[0], also=also, ratios=0.5)
