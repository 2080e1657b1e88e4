"""The budget is met exactly, neither missed nor undercut by more than a channel."""

import numpy as np
import pytest
import torch
from pruning.nets import Siamese
from sparsity.stacks import group
from torch import nn

from compressvqa.cost import profile
from compressvqa.errors import RecipeError
from compressvqa.pruning import prune
from compressvqa.sparsity import BudgetController, Channels, HalfSpace
from compressvqa.sparsity.aim import aim_of


def layers(seed=0):
    """Three groups of 40 columns each, of sizes 1, 2 and 3."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: nn.Parameter(torch.randn(8, 40, generator=generator) * torch.rand(40, generator=generator) * size)
        for name, size in (("x", 0.01), ("y", 0.02), ("z", 0.03))
    }
    slots = [[i] for i in range(40)]
    return weights, Channels(weights, [group(name, 40, (name, 1, slots)) for name in weights])


def share(gone):
    return (120 - int(gone.sum())) / 24  # a fifth of the channels is the budget


def run(steps, stop=None, state=None, weights=None):
    weights, channels = weights or layers()
    optimizer = HalfSpace(weights.values(), 1e-3, lam=0.1, channels=channels, warmup_steps=5, floor=0.01)
    controller = BudgetController(optimizer, share, total_steps=steps)
    if state:
        optimizer.load_state_dict(state[0])
        controller.load_state_dict(state[1])
    generator = torch.Generator().manual_seed(controller.steps)
    used = []
    for step in range(controller.steps, stop or steps):
        generator.manual_seed(step)
        for p in weights.values():
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
        used.append(controller.step())
    return weights, channels, optimizer, controller, used


def test_lambda_is_steered_along_the_schedule_and_the_budget_met():
    weights, channels, _, controller, used = run(120)
    wanted = [controller.wanted(step + 1) for step in range(120)]
    assert wanted[0] == 5.0 and wanted[-1] == pytest.approx(1.0)
    late = [abs(np.log(u / w)) for u, w in zip(used[40:], wanted[40:], strict=True)]
    assert max(late) < 0.35 and float(np.mean(late)) < 0.1
    landing = controller.finish()
    gone = channels.zeros()
    assert landing.before < 1.15 and landing.after == share(channels.removed(gone)) == 1.0
    assert channels.removed(gone).max() <= 39
    # Groups of larger weights keep more.
    kept = 40 - channels.removed(gone)
    assert kept[0] < kept[1] < kept[2]
    assert all(torch.isfinite(p).all() for p in weights.values())


def test_it_goes_on_to_the_bit_from_its_state():
    whole, *_ = run(60)
    weights, channels, optimizer, controller, _ = run(60, stop=25)
    state = (optimizer.state_dict(), controller.state_dict())
    resumed, *_ = run(60, state=state, weights=(weights, channels))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_last_cut_takes_the_smallest_and_no_more_than_needed():
    weights, channels = layers()
    optimizer = HalfSpace(weights.values(), 1e-3, lam=0.1, channels=channels, warmup_steps=0, floor=0.01)
    rms = channels.rms()
    landing = BudgetController(optimizer, share, total_steps=10).finish()
    gone = channels.zeros()
    assert landing.zeroed == int(gone.sum()) == 96 and landing.before == 5.0 and landing.after == 1.0
    assert landing.largest == pytest.approx(float(rms[gone].max()))
    saved = rms[~gone]
    protected = {int(torch.argmax(rms[40 * g : 40 * g + 40])) + 40 * g for g in range(3)}
    others = [float(rms[i]) for i in range(120) if not gone[i] and i not in protected]
    assert len(saved) == 24 and min(others) >= landing.largest


@pytest.mark.parametrize(
    "target", [{"target_macs": 0.4}, {"target_params": 0.5}, {"target_params": 0.6, "target_macs": 0.5}]
)
def test_the_aim_counts_as_the_profiler_does(target):
    """What `used` says of a number of removed channels is what the pruned network then has."""
    torch.manual_seed(0)
    net = Siamese()
    inputs = net.inputs()
    aim = aim_of(net, inputs, **target)
    gone = np.array([group.channels - aim.plan.kept[group.name] for group in aim.channels.groups])
    small = prune(net, inputs, ratios={g.name: n / g.channels for g, n in zip(aim.channels.groups, gone, strict=True)})
    before, after = profile(net, inputs), profile(small.model, inputs)
    shares = {"target_params": after.params / before.params, "target_macs": after.macs / before.macs}
    assert aim.used(gone) == pytest.approx(max(shares[name] / share for name, share in target.items()), rel=0.02)
    assert aim.used(gone) <= 1


def test_a_budget_below_one_channel_a_group_is_refused():
    weights, channels = layers()
    optimizer = HalfSpace(weights.values(), 1e-3, lam=0.1, channels=channels, warmup_steps=0, floor=0.01)
    with pytest.raises(RecipeError, match="can't be met"):
        BudgetController(optimizer, lambda gone: (120 - int(gone.sum())) / 2, total_steps=10)
