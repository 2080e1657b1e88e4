"""The exam that every registered sparsifier sits, ours and those of plugins.

A sparsifier says in its registration which torch optimiser it is at lambda 0 (``base=``), and with which settings the
exam builds it (``example=``). One that takes no lambda says with which settings it is its base (``idle=``). One that
takes `channels` gets the columns of the exam's weight, as one group named "weight".
"""

import inspect
import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from compressvqa.pruning import Group
from compressvqa.pruning.dependency.group import Slot
from compressvqa.registry import sparsifiers
from compressvqa.sparsity import Channels


@pytest.fixture(params=list(sparsifiers))
def entry(request):
    return sparsifiers[request.param]


def problem():
    """A linear regression in float64 whose true weights are mostly zero."""
    torch.manual_seed(0)
    network = nn.Linear(12, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 12, generator=generator, dtype=torch.float64)
    return network, x, 2.0 * x[:, :1] - x[:, 5:6]


def loss_of(network, x, y):
    return (network(x) - y).square().mean()


def train(network, optimizer, x, y, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(network, x, y).backward()
        optimizer.step()
    return [p.detach().clone() for p in network.parameters()]


def takes(entry, name):
    return name in inspect.signature(entry.value).parameters


def settings_of(entry, network):
    settings = dict(entry.facts.get("example", {}))
    if takes(entry, "channels"):
        columns = Slot("weight", 1, np.arange(12)[:, None], "in")
        group = Group("weight", 12, (columns,), {"weight": 1}, {}, None, ())
        settings["channels"] = Channels(dict(network.named_parameters()), [group])
    return settings


def build(entry, network, lam, lr=0.05):
    settings = settings_of(entry, network)
    if takes(entry, "lam"):
        settings["lam"] = lam
    elif lam == 0:
        settings |= entry.facts["idle"]
    return entry.value(network.parameters(), lr=lr, **settings)


def test_the_built_in_sparsifiers_are_registered():
    assert {"obprox-sg", "half-space", "progressive"} <= set(sparsifiers)


def test_it_leaves_exact_zeros_where_nothing_is_to_be_learnt(entry):
    network, x, y = problem()
    train(network, build(entry, network, lam=0.2), x, y, 120)
    weight = network.weight.detach().flatten()
    assert int((weight == 0).sum()) >= 6
    assert abs(weight[0]) > 1 and abs(weight[5]) > 0.4


def test_lambda_zero_is_the_base_optimiser(entry):
    network, x, y = problem()
    ours = train(network, build(entry, network, lam=0.0), x, y, 30)
    network, x, y = problem()
    base = train(network, entry.facts["base"](network.parameters(), lr=0.05), x, y, 30)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, base, strict=True))


def test_a_group_may_have_its_own_lambda(entry):
    if not takes(entry, "lam"):
        pytest.skip("it has no lambda")
    network, x, y = problem()
    groups = [{"params": [network.weight]}, {"params": [network.bias], "lam": 0.0}]
    optimizer = entry.value(groups, lr=0.05, lam=50.0, **settings_of(entry, network))
    train(network, optimizer, x, y + 3, 40)
    assert (network.weight == 0).all() and abs(float(network.bias.detach())) > 1


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_the_state_makes_a_resumed_run_equal_to_the_bit(entry, cut):
    network, x, y = problem()
    whole = train(network, build(entry, network, lam=0.1), x, y, 20)
    network, x, y = problem()
    optimizer = build(entry, network, lam=0.1)
    train(network, optimizer, x, y, cut)
    file = io.BytesIO()
    torch.save([network.state_dict(), optimizer.state_dict()], file)
    weights, state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    network, x, y = problem()
    network.load_state_dict(weights)
    optimizer = build(entry, network, lam=0.1)
    optimizer.load_state_dict(state)
    resumed = train(network, optimizer, x, y, 20 - cut)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_closure_is_called_with_gradients_and_its_loss_returned(entry):
    network, x, y = problem()
    optimizer = build(entry, network, lam=0.1)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(network, x, y)
        loss.backward()
        return loss

    first = float(optimizer.step(closure).detach())
    assert first == pytest.approx(float(loss_of(problem()[0], x, y).detach()))
    assert float(closure().detach()) < first


def test_parameters_without_gradients_are_left_alone(entry):
    network, _, _ = problem()
    before = [p.detach().clone() for p in network.parameters()]
    build(entry, network, lam=1.0).step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_learning_rate_schedulers_drive_it(entry):
    network, x, y = problem()
    optimizer = build(entry, network, lam=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    train(network, optimizer, x, y, 1)
    scheduler.step()
    before = network.weight.detach().clone()
    train(network, optimizer, x, y, 1)
    assert torch.equal(before, network.weight.detach()) and math.isclose(optimizer.param_groups[0]["lr"], 0.0)
