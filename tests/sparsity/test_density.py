import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from compressvqa.errors import RecipeError, TrainingError
from compressvqa.sparsity import DensityController, OBProxSG, regularised_groups


class ConvNet(nn.Module):
    """Learns to tell which quadrant is bright; `spare` is never used, like RankDVQA's sixth stage."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.head, self.spare = nn.Linear(32 * 4, 4), nn.Conv2d(32, 64, 3)

    def forward(self, x):
        x = functional.relu(self.second(functional.relu(self.first(x))))
        return self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))


def example(step, items=16):
    generator = torch.Generator().manual_seed(step)
    x, label = torch.rand(items, 1, 8, 8, generator=generator), torch.randint(4, (items,), generator=generator)
    for i, k in enumerate(label.tolist()):
        x[i, 0, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] += 0.5
    return x, label


def trained(steps=60):
    torch.manual_seed(0)
    network = ConvNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(steps):
        x, label = example(step)
        optimizer.zero_grad()
        functional.cross_entropy(network(x), label).backward()
        optimizer.step()
    return network


def accuracy(network):
    x, label = example(10**6, 400)
    return float((network(x).argmax(1) == label).float().mean())


@pytest.fixture(scope="module")
def teacher():
    network = trained()
    assert accuracy(network) > 0.9
    return network


def run(network, optimizer, controller, steps, scheduler=None):
    for step in steps:
        x, label = example(1000 + step)
        optimizer.zero_grad()
        functional.cross_entropy(network(x), label).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        controller.step()


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("base", "lr"), [("sgd", 1e-2), ("sgd", 1e-1), ("adamw", 3e-3), ("adamw", 1e-4)])
def test_it_reaches_a_tenth_within_150_steps(teacher, base, lr, relative):
    network = copy.deepcopy(teacher)
    groups = regularised_groups(network, lam=1.0, relative=relative)
    optimizer = OBProxSG(groups, lr, lam=0.0, prox_steps=50, base=base)
    controller = DensityController(optimizer, 0.1, total_steps=150, floor=0.02)
    run(network, optimizer, controller, range(150))
    assert controller.density == pytest.approx(0.1, rel=0.08)
    landing = controller.finish()
    assert landing.before == pytest.approx(0.1, rel=0.08)
    assert landing.after <= 0.1 and landing.after == pytest.approx(0.1, rel=0.08)
    # density as anyone would count it, over what the loss reaches
    weights = [network.first.weight, network.second.weight, network.head.weight]
    counted = sum(int((w != 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert counted == pytest.approx(landing.after)
    # "spare" gets no gradient: it is left alone, named, and not counted
    assert controller.unreached == ["spare.weight"] and (network.spare.weight != 0).all()
    assert all(density > 0.01 for density in controller.densities().values())
    if not relative and (base, lr) != ("adamw", 1e-4):  # there, 150 steps are too few to move the survivors back up
        assert accuracy(network) > 0.9


def test_it_follows_the_learning_rates_schedule(teacher):
    network = copy.deepcopy(teacher)
    optimizer = OBProxSG(regularised_groups(network, lam=1.0), 2e-3, lam=0.0, prox_steps=40, base="adamw")
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=10),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=110),
        ],
        milestones=[10],
    )
    controller = DensityController(optimizer, 0.1, total_steps=120)
    for step in range(120):
        run(network, optimizer, controller, [step], scheduler)
        assert controller.density == pytest.approx(controller.wanted(step + 1), rel=0.25)
    assert controller.density == pytest.approx(0.1, rel=0.08)


def test_the_alternating_form_gets_there_too(teacher):
    network = copy.deepcopy(teacher)
    groups = regularised_groups(network, lam=1.0)
    optimizer = OBProxSG(groups, 1e-3, lam=0.0, prox_steps=20, orthant_steps=20, base="adamw")
    controller = DensityController(optimizer, 0.15, total_steps=200)
    run(network, optimizer, controller, range(200))
    assert controller.density == pytest.approx(0.15, rel=0.15)
    assert controller.finish().after == pytest.approx(0.15, rel=0.01)


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(teacher, optimizer_first):
    def start():
        network = copy.deepcopy(teacher)
        optimizer = OBProxSG(regularised_groups(network, lam=1.0), 1e-3, lam=0.0, prox_steps=10, base="adamw")
        return network, optimizer

    def control(optimizer):
        return DensityController(optimizer, 0.1, total_steps=30, floor=0.05)

    network, optimizer = start()
    controller = control(optimizer)
    run(network, optimizer, controller, range(30))
    expected = copy.deepcopy(network.state_dict())

    network, optimizer = start()
    controller = control(optimizer)
    run(network, optimizer, controller, range(26))
    file = io.BytesIO()
    torch.save([x.state_dict() for x in (network, optimizer, controller)], file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    network, optimizer = start()
    network.load_state_dict(saved[0])
    if optimizer_first:
        optimizer.load_state_dict(saved[1])
        controller = control(optimizer)
        controller.load_state_dict(saved[2])
    else:
        controller = control(optimizer)
        controller.load_state_dict(saved[2])
        optimizer.load_state_dict(saved[1])
    run(network, optimizer, controller, range(26, 30))
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_the_floor_keeps_a_layer_of_small_weights_alive():
    torch.manual_seed(0)
    small, large = nn.Parameter(torch.randn(400) * 1e-3), nn.Parameter(torch.randn(4000))
    densities = {}
    for floor in (0.0, 0.05):
        params = [nn.Parameter(small.detach().clone()), nn.Parameter(large.detach().clone())]
        optimizer = OBProxSG(params, 0.1, lam=1.0, prox_steps=100)
        controller = DensityController(optimizer, 0.1, total_steps=100, floor=floor)
        for _ in range(100):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
            controller.step()
        controller.finish()
        densities[floor] = controller.densities()["0.0"]
        assert controller.density == pytest.approx(0.1, rel=0.02)
    assert densities[0.0] == 0 and densities[0.05] == pytest.approx(0.05, abs=0.01)


def test_finish_cuts_the_smallest_magnitudes_and_lands_exactly():
    weight = nn.Parameter(torch.arange(1.0, 101.0).repeat(2))
    optimizer = OBProxSG([weight], 0.1, lam=1.0, prox_steps=1)
    controller = DensityController(optimizer, 0.25, total_steps=10)
    landing = controller.finish()
    assert landing.before == 1.0 and landing.after == 0.25 and landing.zeroed == 150 and landing.largest == 75
    assert set(weight.detach()[weight != 0].tolist()) == set(range(76, 101))
    again = controller.finish()
    assert again.zeroed == 0 and again.after == 0.25


def test_finish_counts_ties_and_respects_floors():
    same, tiny = nn.Parameter(torch.ones(90)), nn.Parameter(torch.full((10,), 1e-3))
    optimizer = OBProxSG([same, tiny], 0.1, lam=1.0, prox_steps=1)
    landing = DensityController(optimizer, 0.4, total_steps=10, floor=0.2).finish()
    assert landing.after == 0.4
    assert int((tiny != 0).sum()) == 2 and int((same != 0).sum()) == 38


def test_the_ratio_of_lambdas_between_groups_is_kept():
    params = [nn.Parameter(torch.randn(50)) for _ in range(3)]
    groups = [
        {"params": [params[0]], "lam": 0.1},
        {"params": [params[1]], "lam": 0.3},
        {"params": [params[2]], "lam": 0},
    ]
    optimizer = OBProxSG(groups, 0.1, lam=1.0, prox_steps=10)
    controller = DensityController(optimizer, 0.5, total_steps=10)
    for p in params:
        p.grad = torch.zeros_like(p)
    for _ in range(3):
        optimizer.step()
        controller.step()
        assert optimizer.param_groups[1]["lam"] == pytest.approx(3 * optimizer.param_groups[0]["lam"])
        assert optimizer.param_groups[2]["lam"] == 0


@pytest.mark.parametrize(
    "change", [{"target": 0.0}, {"target": 1.0}, {"total_steps": 0}, {"hold": 1.0}, {"floor": 0.5}, {"max_change": 1.0}]
)
def test_a_wrong_setting_is_refused(change):
    optimizer = OBProxSG([nn.Parameter(torch.ones(3))], 0.1, lam=1.0, prox_steps=1)
    with pytest.raises(RecipeError):
        DensityController(optimizer, **{"target": 0.1, "total_steps": 10, **change})


def test_nothing_to_steer_is_said():
    weight = nn.Parameter(torch.ones(3))
    with pytest.raises(RecipeError, match="positive lam"):
        DensityController(OBProxSG([weight], 0.1, lam=0.0, prox_steps=1), 0.1, total_steps=10)
    controller = DensityController(OBProxSG([weight], 0.1, lam=1.0, prox_steps=1), 0.1, total_steps=10)
    with pytest.raises(TrainingError, match="gradient"):
        controller.step()
    state = controller.state_dict()
    two = OBProxSG([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))], 0.1, lam=1.0, prox_steps=1)
    with pytest.raises(RecipeError, match="other parameters"):
        DensityController(two, 0.1, total_steps=10).load_state_dict(state)


def test_a_sparsifier_without_factors_can_be_steered_without_a_floor():
    class Shrink(torch.optim.Optimizer):
        def __init__(self, params, lam):
            super().__init__(params, {"lr": 0.1, "lam": lam})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.copy_(functional.softshrink(p, group["lr"] * group["lam"]))

    weight = nn.Parameter(torch.linspace(-1, 1, 500))
    weight.grad = torch.zeros_like(weight)
    with pytest.raises(RecipeError, match=r"no lam_scales.*floor=0"):
        DensityController(Shrink([weight], 1.0), 0.1, total_steps=40)
    optimizer = Shrink([weight], 1.0)
    controller = DensityController(optimizer, 0.1, total_steps=40, floor=0)
    for _ in range(40):
        optimizer.step()
        controller.step()
    assert controller.density == pytest.approx(0.1, rel=0.05)
