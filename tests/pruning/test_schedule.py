"""Pruning in steps: each goes on from the fine-tuned network, the last one meets what was asked of the first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pruning.clocks import Clock
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import Schedule, prune

INPUTS = (torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)),)


class Net(nn.Module):
    """A stem tied to a branch, a free layer, a dead one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body, self.back = nn.Conv2d(3, 40, 3), nn.Conv2d(40, 33, 1), nn.Conv2d(33, 40, 1)
        self.dead, self.head = nn.Linear(40, 9), nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.back(self.body(x).relu())
        self.dead(x.mean((2, 3)))
        return self.head(x.mean((2, 3)))


def shares(net: nn.Module, first: nn.Module) -> float:
    return sum(p.numel() for p in net.parameters()) / sum(p.numel() for p in first.parameters())


def test_the_last_step_meets_the_target_of_the_first_network() -> None:
    net = Net()
    steps = list(Schedule(net, INPUTS, steps=3, target_params=0.2))
    sizes = [shares(step.model, net) for step in steps]
    for k, size in enumerate(sizes, 1):
        assert 0.2 ** (k / 3) - 0.02 <= size <= 0.2 ** (k / 3)
    assert all(step.max_error is not None and step.max_error <= 1e-5 for step in steps)
    assert steps[0].dead == ("dead",)
    assert shares(net, Net()) == 1


@pytest.mark.parametrize("settings", [{"target_macs": 0.25}, {"target_macs": 0.25, "scope": "global"}])
def test_work_falls_to_the_target(settings: dict[str, Any]) -> None:
    net = Net()
    first, *_, last = list(Schedule(net, INPUTS, steps=3, **settings))
    assert 0.25 * 0.96 <= last.plan.macs[1] / first.plan.macs[0] <= 0.25


@pytest.mark.parametrize("ratios", [0.6, {"stem": 0.75, "body": 0.3}, {"b*": 0.9}])
@pytest.mark.parametrize("steps", [2, 5])
def test_ratios_end_at_the_widths_of_one_step(ratios: Any, steps: int) -> None:
    once = prune(Net(), INPUTS, ratios=ratios).plan.kept
    last = list(Schedule(Net(), INPUTS, steps=steps, ratios=ratios))[-1]
    assert last.plan.kept == once


def test_a_step_prunes_the_fine_tuned_network() -> None:
    """Training that sets every weight to the number of its step shows up in what the next step starts from."""
    seen = []
    for number, pruned in enumerate(Schedule(Net(), INPUTS, steps=3, ratios=0.5), 1):
        seen.append(float(pruned.model.stem.weight.detach().max()))  # type: ignore[union-attr, operator]
        with torch.no_grad():
            for parameter in pruned.model.parameters():
                parameter.fill_(number)
    assert seen[1:] == [1.0, 2.0]


def test_taylor_reads_the_gradients_of_each_network() -> None:
    net = Net()
    net(*INPUTS).sum().backward()
    for pruned in Schedule(net, INPUTS, steps=2, ratios=0.5, importance="taylor"):
        assert all(p.grad is None for p in pruned.model.parameters())
        pruned.model(*INPUTS).sum().backward()
    schedule = Schedule(net, INPUTS, steps=2, ratios=0.5, importance="taylor")
    with pytest.raises(PruneError, match="run a backward pass first"):
        schedule.prune(2, schedule.prune(1, net).model)


def test_a_step_that_rounds_to_nothing_is_no_error_and_the_next_makes_it_good() -> None:
    settings: dict[str, Any] = {"ratios": {"stem": 0.3}, "round_to": 16, "remove_dead": False}
    steps = list(Schedule(Net(), INPUTS, steps=4, **settings))
    # 36.6, 33.5, 30.6 and 28 channels are meant.
    assert [step.plan.kept["stem"] for step in steps] == [40, 32, 32, 32]
    assert steps[0].removed == {} and "stem 40 (nearest to all)" in steps[0].plan.notes[0]
    with pytest.raises(PruneError, match="nothing would be removed"):
        list(Schedule(Net(), INPUTS, steps=2, ratios=0.0, remove_dead=False))


def test_no_group_loses_more_than_its_share_over_all_steps() -> None:
    last = list(Schedule(Net(), INPUTS, steps=3, target_params=0.3, scope="global", max_ratio=0.6))[-1]
    assert last.plan.kept["stem"] >= 16 and last.plan.kept["body"] >= 14


def test_the_latency_of_the_last_step_is_a_share_of_the_first_network_s(clock: Clock) -> None:
    net = Net()
    first, last = list(Schedule(net, INPUTS, steps=2, target_latency=0.55, runtime=clock.runtime))
    times = [clock.takes(model) for model in (net, first.model, last.model)]
    assert times[0] > times[1] > times[2] and 0.495 <= times[2] / times[0] <= 0.56
    assert last.plan.latency is not None and last.plan.latency.before_ms == pytest.approx(1000 * times[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0, "ratios": 0.5}, "steps must be a whole number of at least 1, not 0"),
        ({"steps": 2, "ratios": "zeros"}, r"'zeros' lose nothing, so they go in one step \(try: steps=1"),
        ({"steps": 2, "ratio": 0.5}, "prune has no setting 'ratio'"),
        ({"steps": 2, "ratios": 1.5}, "a ratio is the share removed, from 0 to 1, not 1.5"),
        ({"steps": 2, "ratios": {"steem": 0.5}}, r"'steem' matches no layer that makes channels \(try: stem"),
        ({"steps": 2, "ratios": {"head": 0.5}}, "'head' can't be pruned: the network returns these channels"),
        ({"steps": 2}, "nothing was asked for"),
        ({"steps": 2, "ratios": {"stem": 0.5}, "scope": "global"}, "ratios must be one number, or a target"),
    ],
)
def test_mistakes_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PruneError, match=message) as caught:
        next(iter(Schedule(Net(), INPUTS, **settings)))
    assert "\n" not in str(caught.value)
