"""The search for a latency, on clocks that are known: no assertion depends on how fast this machine is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pruning.clocks import Clock
from torch import nn

from compressvqa.errors import MissingExtraError, PruneError
from compressvqa.pruning import Timing, prune
from compressvqa.pruning.widths.latency import find
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.runtimes import call_of, compare


def plan_at(share: float) -> PruningPlan:
    return PruningPlan((), {}, (1000, 1000), (10**6, round(share * 10**6)))


def curve_clock(share_of: Callable[[float], float]) -> Callable[[PruningPlan, float], Timing]:
    """A measurement that tells the share of a plan's latency from the share of its MACs."""

    def measure(plan: PruningPlan, near: float) -> Timing:
        share = share_of(plan.macs[1] / plan.macs[0])
        return Timing(100.0, 100.0 * share, "clock", 1, 1)

    return measure


CURVES: dict[str, Callable[[float], float]] = {
    "all of it is work": lambda m: m,
    "half of it is no work": lambda m: 0.5 + 0.5 * m,
    "steep": lambda m: m**3,
    "flat at first": lambda m: float(np.sqrt(m)),
    "steps of a twentieth": lambda m: np.ceil(m * 20) / 20,
}


@pytest.mark.parametrize("target", [0.9, 0.7, 0.6])
@pytest.mark.parametrize("curve", CURVES)
def test_the_share_is_found_within_a_tenth(curve: str, target: float) -> None:
    found = find(target, plan_at, curve_clock(CURVES[curve]), least=0.01)
    assert abs(found.timing.share / target - 1) <= 0.1 and found.notes == ()
    assert CURVES[curve](found.plan.macs[1] / 10**6) == pytest.approx(found.timing.share)


@pytest.mark.parametrize("seed", range(8))
def test_a_noisy_clock_is_outvoted(seed: int) -> None:
    """Every measurement is off by up to 10 %, the first by a half."""
    dice = np.random.default_rng(seed)
    seen = []

    def share_of(m: float) -> float:
        seen.append(m)
        return (0.1 + 0.9 * m) * float(dice.uniform(0.9, 1.1)) * (1.5 if len(seen) == 1 else 1.0)

    found = find(0.5, plan_at, curve_clock(share_of), least=0.01)
    assert abs((0.1 + 0.9 * found.plan.macs[1] / 10**6) / 0.5 - 1) <= 0.2
    assert found.timing.share != 0 and len(seen) <= 25


def test_a_latency_out_of_reach_is_refused() -> None:
    with pytest.raises(
        PruneError, match=r"can't reach target_latency=0.3: the narrowest network takes 0.55 of the time"
    ):
        find(0.3, plan_at, curve_clock(lambda m: 0.5 + 0.5 * m), least=0.1)


def test_another_target_may_bind() -> None:
    found = find(0.9, plan_at, curve_clock(lambda m: m), least=0.1, most=0.4)
    assert found.timing.share == pytest.approx(0.4)
    assert found.notes == ("target_latency=0.9: 0.4 is kept, another target binds",)


def test_a_network_that_is_fast_enough_already_is_left_whole() -> None:
    """Its blocks went before; narrower plans are measured slower, as on a busy machine, and are not taken for it."""
    found = find(0.9, plan_at, curve_clock(lambda m: 0.6 if m > 0.99 else 0.7), least=0.1)
    assert found.plan.macs[0] == found.plan.macs[1]
    assert found.notes == ("target_latency=0.9: 0.6 is kept, it is faster than that already",)


def test_prune_meets_a_latency_on_a_runtime_of_one_s_own(clock: Clock) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 60), nn.ReLU(), nn.Linear(60, 30), nn.ReLU(), nn.Linear(30, 4))
    pruned = prune(net, (torch.randn(2, 8),), target_latency=0.5, runtime=clock.runtime, round_to=2)
    timing = pruned.plan.latency
    assert timing is not None and timing.runtime == "Clock.runtime" and timing.threads == torch.get_num_threads()
    assert timing.before_ms == pytest.approx(1000 * clock.takes(net))
    assert timing.after_ms == pytest.approx(1000 * clock.takes(pruned.model))
    assert 0.45 <= clock.takes(pruned.model) / clock.takes(net) <= 0.55
    assert "latency: " in str(pruned.plan) and "Clock.runtime" in str(pruned.plan)
    assert all(width % 2 == 0 for width in pruned.plan.kept.values())


def test_what_a_plan_says_of_a_latency_names_the_latency(clock: Clock) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 60), nn.ReLU(), nn.Linear(60, 4))
    inputs = (torch.randn(2, 8),)
    notes = prune(net, inputs, target_latency=0.5, target_params=0.9, runtime=clock.runtime).plan.notes
    assert (
        len(notes) == 1 and notes[0].startswith("target_params=0.9: 0.") and notes[0].endswith("target_latency binds")
    )


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_compare_tells_the_ratio_of_two_calls(clock: Clock, share: float) -> None:
    timing = compare(clock.tick(0.02), clock.tick(0.02 * share), "clock")
    assert timing.share == pytest.approx(share) and timing.before_ms == pytest.approx(20)


def test_a_machine_that_is_busy_does_not_move_the_ratio(clock: Clock) -> None:
    """Three of five calls are held up by up to 30 ms, which makes medians more alike than the calls are."""
    dice = np.random.default_rng(0)

    def held_up(seconds: float) -> Callable[[], None]:
        def call() -> None:
            clock.now += seconds + (dice.uniform(0, 0.03) if dice.uniform() < 0.6 else 0.0)

        return call

    assert compare(held_up(0.02), held_up(0.01), "clock", near=0.5).share == pytest.approx(0.5, rel=0.05)


def test_short_calls_are_timed_several_at_once(clock: Clock) -> None:
    timing = compare(clock.tick(2e-5), clock.tick(1e-5), "clock")
    assert timing.before_ms == pytest.approx(0.02) and timing.after_ms == pytest.approx(0.01)


def test_a_runtime_gets_a_copy_in_eval_mode() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    seen: list[nn.Module] = []

    def runtime(model: nn.Module, inputs: Any) -> Callable[[], None]:
        seen.append(model)
        return lambda: None

    call_of(runtime, net, (torch.zeros(1, 2),))()
    assert seen[0] is not net and not seen[0].training and net.training


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="onnxruntime is installed")
def test_a_missing_runtime_is_one_clear_line() -> None:
    with pytest.raises(
        MissingExtraError, match=r"'onnxruntime' is not installed \(try: pip install 'compressvqa\[onnx\]'"
    ):
        call_of("onnxruntime", nn.Linear(2, 2), (torch.zeros(1, 2),))


@pytest.mark.parametrize("inputs", [(torch.ones(1, 2),), torch.ones(1, 2), {"input": torch.ones(1, 2)}])
def test_eager_runs_the_network_on_its_inputs(inputs: Any) -> None:
    layer = nn.Linear(2, 3)
    result = call_of("eager", layer, inputs)()
    assert isinstance(result, torch.Tensor) and torch.equal(result, layer(torch.ones(1, 2)))
