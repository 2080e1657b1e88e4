import copy
import io
import math

import pytest
import torch
from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.sparsity import OBProxSG


class NaiveOBProxSG:
    """OBProx-SG element by element in Python floats (float64), written from the paper's algorithms: the reference."""

    def __init__(self, x, lr, lam, prox_steps, orthant_steps, eps=0.0, base="sgd", betas=(0.9, 0.999), decay=0.0):
        self.x, self.lr, self.lam, self.eps, self.base, self.betas = list(x), lr, lam, eps, base, betas
        self.prox_steps, self.orthant_steps, self.decay, self.k = prox_steps, orthant_steps, decay, 0
        self.m, self.v, self.t = [0.0] * len(x), [0.0] * len(x), [0] * len(x)

    def direction(self, i, g):
        if self.base == "sgd":
            return g
        self.t[i] += 1
        beta1, beta2 = self.betas
        self.m[i] = beta1 * self.m[i] + (1 - beta1) * g
        self.v[i] = beta2 * self.v[i] + (1 - beta2) * g * g
        m, v = self.m[i] / (1 - beta1 ** self.t[i]), self.v[i] / (1 - beta2 ** self.t[i])
        return m / (math.sqrt(v) + 1e-8)

    def step(self, grads):
        period = self.prox_steps + self.orthant_steps
        prox = self.k < self.prox_steps if math.isinf(period) else self.k % period < self.prox_steps
        for i, g in enumerate(grads):
            if g is None:
                continue
            d = self.direction(i, g)
            x = self.x[i]
            decayed = x - self.lr * self.decay * x
            if self.lam == 0:
                self.x[i] = decayed - self.lr * d
            elif prox:
                u = decayed - self.lr * d
                self.x[i] = math.copysign(max(abs(u) - self.lr * self.lam, 0.0), u)
            else:
                z = (x > 0) - (x < 0)
                h = decayed - self.lr * (d + self.lam * z)
                self.x[i] = h if z != 0 and h * z > self.eps else 0.0
        self.k += 1


def _run_both(settings_of_groups, steps=14, missing=()):
    """Runs ours and the naive one on the same random gradients; returns the largest difference and our tensors."""
    generator = torch.Generator().manual_seed(0)
    groups, references, params = [], [], []
    for settings in settings_of_groups:
        tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) * 0.1 for shape in [(3, 2), (5,)]]
        tensors[0][0, 0] = 0.0
        parameters = [nn.Parameter(t.clone()) for t in tensors]
        params.append(parameters)
        groups.append({"params": parameters, **{k: v for k, v in settings.items() if k != "decay"}})
        groups[-1]["weight_decay"] = settings.get("decay", 0.0)
        references.append([NaiveOBProxSG(t.flatten().tolist(), **settings) for t in tensors])
    optimizer = OBProxSG(groups, lr=0.1, lam=0.1, prox_steps=1)
    for step in range(steps):
        for parameters, naive in zip(params, references, strict=True):
            for index, (parameter, reference) in enumerate(zip(parameters, naive, strict=True)):
                grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
                absent = (step, index) in missing
                parameter.grad = None if absent else grad
                reference.step([None] * grad.numel() if absent else grad.flatten().tolist())
        optimizer.step()
    difference = max(
        float((parameter.detach().flatten() - torch.tensor(reference.x, dtype=torch.float64)).abs().max())
        for parameters, naive in zip(params, references, strict=True)
        for parameter, reference in zip(parameters, naive, strict=True)
    )
    zeros_agree = all(
        [v == 0 for v in parameter.detach().flatten().tolist()] == [v == 0 for v in reference.x]
        for parameters, naive in zip(params, references, strict=True)
        for parameter, reference in zip(parameters, naive, strict=True)
    )
    return difference, zeros_agree, [p for group in params for p in group]


BASIC = {"lr": 0.05, "lam": 0.4, "prox_steps": 3, "orthant_steps": 2}


@pytest.mark.parametrize("base", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"eps": 0.02},
        {"orthant_steps": math.inf},
        {"prox_steps": 0, "orthant_steps": 4},
        {"orthant_steps": 0},
        {"decay": 0.1},
        {"lam": 0.0},
        {"lam": 3.0},
    ],
)
def test_equals_the_naive_reference_over_both_phases(base, change):
    difference, zeros_agree, params = _run_both([{**BASIC, "base": base, **change}])
    assert difference < 1e-12
    assert zeros_agree
    if change.get("lam") != 0:
        assert any((p == 0).any() for p in params)


def test_groups_keep_their_own_settings():
    groups = [BASIC, {**BASIC, "lam": 0.0, "lr": 0.2}, {**BASIC, "base": "adamw", "prox_steps": 1, "eps": 0.01}]
    difference, zeros_agree, _ = _run_both(groups)
    assert difference < 1e-12 and zeros_agree


@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_a_parameter_without_gradient_is_skipped_but_time_goes_on(base):
    difference, zeros_agree, _ = _run_both([{**BASIC, "base": base}], missing={(2, 1), (3, 1), (4, 0), (9, 1)})
    assert difference < 1e-12 and zeros_agree


@pytest.mark.parametrize("foreach", [True, False])
def test_one_tensor_at_a_time_gives_the_same_bits(foreach, monkeypatch):
    monkeypatch.setattr("compressvqa.sparsity.obproxsg.ELEMENTS_AT_ONCE", {"cpu": 7})
    small = _trajectory(foreach=foreach)
    monkeypatch.undo()
    assert all(torch.equal(a, b) for a, b in zip(small, _trajectory(foreach=True), strict=True))


def _trajectory(foreach):
    generator = torch.Generator().manual_seed(1)
    params = [nn.Parameter(torch.randn(4, 3, generator=generator)) for _ in range(3)]
    optimizer = OBProxSG(params, lr=0.1, lam=0.3, prox_steps=2, orthant_steps=2, base="adamw", foreach=foreach)
    for _ in range(6):
        for p in params:
            p.grad = torch.randn(4, 3, generator=generator)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(base):
    def start():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        groups = [{"params": [network[0].weight, network[2].weight]}, {"params": [network[0].bias], "lam": 0.0}]
        return network, OBProxSG(groups, 0.05, lam=0.1, prox_steps=4, orthant_steps=3, base=base)

    def go(network, optimizer, steps):
        for step in steps:
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            (network(x) - x.sum(1, keepdim=True)).square().mean().backward()
            optimizer.step()

    whole, optimizer = start()
    go(whole, optimizer, range(20))
    for cut in (2, 5, 11):
        network, optimizer = start()
        go(network, optimizer, range(cut))
        file = io.BytesIO()
        torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
        saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        network, optimizer = start()
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        go(network, optimizer, range(cut, 20))
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), network.parameters(), strict=True))


def test_phases_are_counted_in_steps():
    weight = nn.Parameter(torch.ones(2))
    optimizer = OBProxSG([weight], 0.0, lam=1.0, prox_steps=2, orthant_steps=1)
    seen = []
    for _ in range(7):
        seen.append(optimizer.phase)
        optimizer.step()
    assert seen == ["prox", "prox", "orthant"] * 2 + ["prox"]
    plus = OBProxSG([nn.Parameter(torch.ones(2))], 0.0, lam=1.0, prox_steps=1)
    for _ in range(50):
        plus.step()
    assert plus.phase == "orthant"


def test_lasso_with_an_orthonormal_design_reaches_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    design, _ = torch.linalg.qr(torch.randn(40, 12, generator=generator, dtype=torch.float64))
    truth = torch.cat([torch.zeros(8), torch.tensor([2.0, -1.5, 0.8, -0.3])]).double()
    target = design @ truth + 0.05 * torch.randn(40, generator=generator, dtype=torch.float64)
    # min |y - Ax|^2 / 2 + lam |x|_1 with A'A = 1 is solved by the soft threshold of A'y
    ordinary = design.T @ target
    solution = ordinary.sign() * (ordinary.abs() - 0.2).clamp_min(0)
    x = nn.Parameter(torch.zeros(12, dtype=torch.float64))
    optimizer = OBProxSG([x], 0.5, lam=0.2, prox_steps=30, orthant_steps=30)
    for _ in range(150):
        x.grad = design.T @ (design @ x.detach() - target)
        optimizer.step()
    assert torch.allclose(x.detach(), solution, atol=1e-10)
    assert torch.equal(x.detach() == 0, solution == 0)


@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_lam_zero_is_torchs_own_optimiser(base):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 4), None
    theirs = copy.deepcopy(ours)
    mine = OBProxSG(ours.parameters(), 0.01, lam=0.0, prox_steps=1, orthant_steps=1, base=base, weight_decay=0.1)
    torchs = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[base](theirs.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(10):
        x = torch.randn(8, 5, generator=torch.Generator().manual_seed(step))
        for network, optimizer in ((ours, mine), (theirs, torchs)):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_factor_of_lambda_for_each_parameter():
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = OBProxSG([{"params": [a, b], "lam_scales": [1.0, 0.5]}], lr=0.1, lam=1.0, prox_steps=1)
    for p in (a, b):
        p.grad = torch.zeros(3)
    optimizer.step()
    assert torch.allclose(a.detach(), torch.full((3,), 0.9)) and torch.allclose(b.detach(), torch.full((3,), 0.95))


def test_learning_rate_schedulers_and_tensor_rates_work():
    weight = nn.Parameter(torch.ones(3))
    optimizer = OBProxSG([weight], lr=0.1, lam=1.0, prox_steps=2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    weight.grad = torch.zeros(3)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert torch.allclose(weight.detach(), torch.full((3,), 0.85))
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    optimizer.step()
    assert torch.allclose(weight.detach(), torch.full((3,), 0.35))


def test_autocast_gradients_reach_float32_weights():
    network = nn.Linear(4, 2)
    optimizer = OBProxSG(network.parameters(), lr=0.1, lam=0.5, prox_steps=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(torch.randn(3, 4)).square().mean()
    loss.backward()
    optimizer.step()
    assert network.weight.dtype == torch.float32 and network.weight.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"lr": -1.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"lam": -0.1}, "lam"),
        ({"lam": math.inf}, "lam"),
        ({"prox_steps": -1}, "prox_steps"),
        ({"prox_steps": 0, "orthant_steps": 0}, "both 0"),
        ({"eps": -1.0}, "eps"),
        ({"base": "rmsprop"}, "rmsprop"),
        ({"base": "adamw", "betas": (0.9, 1.0)}, "betas"),
    ],
)
def test_a_wrong_setting_is_named(settings, named):
    with pytest.raises(RecipeError, match=named):
        OBProxSG([nn.Parameter(torch.ones(2))], **{"lr": 0.1, "lam": 0.1, "prox_steps": 1, **settings})


def test_what_cannot_shrink_is_refused():
    with pytest.raises(RecipeError, match="complex"):
        OBProxSG([nn.Parameter(torch.ones(2, dtype=torch.complex64))], 0.1, lam=0.1, prox_steps=1)
    with pytest.raises(RecipeError, match="lam_scales"):
        OBProxSG([{"params": [nn.Parameter(torch.ones(2))], "lam_scales": [1.0, 1.0]}], 0.1, lam=0.1, prox_steps=1)
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = OBProxSG(table.parameters(), 0.1, lam=0.1, prox_steps=1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RecipeError, match="sparse"):
        optimizer.step()
