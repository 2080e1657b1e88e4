"""HSPG against a reference that goes channel by channel and element by element in Python floats."""

import math

import numpy as np
import pytest
import torch
from sparsity.stacks import group, stack
from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.sparsity import Channels, HalfSpace

SETS = [
    *[
        {("a", c, j) for j in range(2)} | {("bias", c)} | {("b", i, j) for i in range(4) for j in (c, c + 3)}
        for c in range(3)
    ],
    *[
        {("b", c, j) for j in range(6)} | {("c", c, j) for j in range(4)} | {("c", i, c) for i in range(4)}
        for c in range(4)
    ],
]
GROUP_OF = [0, 0, 0, 1, 1, 1, 1]


class Naive:
    """Chen et al. 2021, algorithm 2, on sets of elements that overlap."""

    def __init__(self, x, lr, lam, warmup_steps, eps=0.0, floor=0.0, base="sgd", weight_decay=0.0):
        self.x, self.lr, self.lam, self.warmup, self.eps = dict(x), lr, lam, warmup_steps, eps
        self.least = [math.ceil(floor * n) for n in (3, 4)]
        self.base, self.decay, self.k = base, weight_decay, 0
        self.m, self.v = dict.fromkeys(x, 0.0), dict.fromkeys(x, 0.0)

    def direction(self, e, g):
        if self.base == "sgd":
            return g
        self.m[e] = 0.9 * self.m[e] + 0.1 * g
        self.v[e] = 0.999 * self.v[e] + 0.001 * g * g
        t = self.k + 1
        return self.m[e] / (1 - 0.9**t) / (math.sqrt(self.v[e] / (1 - 0.999**t)) + 1e-8)

    def step(self, grads):
        x = self.x
        norms = [math.sqrt(sum(x[e] ** 2 for e in s)) for s in SETS]
        free = []
        for c, norm in enumerate(norms):
            rms = norm / math.sqrt(len(SETS[c]))
            larger = sum(
                norms[d] / math.sqrt(len(SETS[d])) > rms for d in range(len(SETS)) if GROUP_OF[d] == GROUP_OF[c]
            )
            free.append(norm > 0 and larger >= self.least[GROUP_OF[c]])
        u = {}
        for e in x:
            pull = sum(math.sqrt(len(s)) * x[e] / norms[c] for c, s in enumerate(SETS) if e in s and free[c])
            u[e] = x[e] * (1 - self.lr * self.decay) - self.lr * (self.direction(e, grads[e]) + self.lam * pull)
        if self.k >= self.warmup:
            crossed = [
                s
                for c, s in enumerate(SETS)
                if norms[c] == 0 or (free[c] and sum(u[e] * x[e] for e in s) < self.eps * norms[c] ** 2)
            ]
            u.update(dict.fromkeys(set().union(*crossed), 0.0))
        self.x = u
        self.k += 1


@pytest.mark.parametrize(
    "settings",
    [
        {"lam": 0.2, "warmup_steps": 4},
        {"lam": 0.2, "warmup_steps": 0, "eps": 0.3},
        {"lam": 0.5, "warmup_steps": 2, "floor": 0.3},
        {"lam": 0.3, "warmup_steps": 3, "base": "adamw", "weight_decay": 0.1},
        {"lam": 0.8, "warmup_steps": 3, "base": "adamw", "floor": 0.5},
    ],
)
def test_it_is_the_papers_algorithm(settings):
    parameters, channels = stack()
    elements = {
        (name, *index): float(p.detach()[index])
        for name, p in parameters.items()
        for index in np.ndindex(tuple(p.shape))
    }
    lr = 0.05
    ours = HalfSpace(parameters.values(), lr, channels=channels, **settings)
    naive = Naive(elements, lr, **settings)
    generator, zeros = torch.Generator().manual_seed(1), 0
    for _ in range(25):
        grads = {}
        for name, p in parameters.items():
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.3
            grads |= {(name, *index): float(p.grad[index]) for index in np.ndindex(tuple(p.shape))}
        ours.step()
        naive.step(grads)
        now = {
            (name, *index): float(p.detach()[index])
            for name, p in parameters.items()
            for index in np.ndindex(tuple(p.shape))
        }
        assert all(abs(now[e] - naive.x[e]) < 1e-12 for e in now)
        assert {e for e in now if now[e] == 0} == {e for e in now if naive.x[e] == 0}
        zeros = int(channels.zeros().sum())
    assert zeros >= 1  # the case shows projections at all
    left = (channels.counts - channels.removed(channels.zeros())).tolist()
    assert all(n >= least for n, least in zip(left, naive.least, strict=True))


def one_channel(values):
    weight = nn.Parameter(torch.tensor([values]))
    return weight, Channels({"w": weight}, [group("w", 1, ("w", 0, [[0]]))])


def test_a_step_by_hand():
    """x = (3, 4): norm 5, two elements. Pull 0.1 * 1 * sqrt(2) * x / 5 = 0.0283 x without a gradient."""
    weight, channels = one_channel([3.0, 4.0])
    weight.grad = torch.zeros(1, 2)
    HalfSpace([weight], 0.1, lam=1.0, channels=channels, warmup_steps=0).step()
    assert torch.allclose(weight.detach(), torch.tensor([[3.0, 4.0]]) * (1 - 0.1 * math.sqrt(2) / 5))


@pytest.mark.parametrize(("gradient", "zero"), [((25.0, 0.0), False), ((9.0, 40.0), True), ((0.0, 60.0), True)])
def test_it_projects_where_the_step_leaves_the_half_space(gradient, zero):
    """<u, x> = 25 - 0.1 <g, x> falls below eps * 25 = 7.5 where <g, x> > 175. Here it is 75, 187 and 240."""
    weight, channels = one_channel([3.0, 4.0])
    weight.grad = torch.tensor([gradient])
    HalfSpace([weight], 0.1, lam=1e-9, channels=channels, warmup_steps=0, eps=0.3).step()
    assert bool((weight == 0).all()) is zero


def test_zeros_are_held_when_it_is_settled_and_nothing_else_is_pulled():
    parameters, channels = stack()
    gone = torch.tensor([True, False, False, False, True, False, False])
    channels.scale_((~gone).double())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = HalfSpace(parameters.values(), 0.1, lam=5.0, channels=channels, warmup_steps=0)
    optimizer.settled = True
    for p in parameters.values():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert torch.equal(channels.zeros(), gone)
    for name, p in parameters.items():
        moved = p.detach() != 0
        assert torch.allclose(p.detach()[moved], (before[name] - 0.1)[moved])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eps": 1.0}, "eps"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"floor": 1.5}, "floor"),
        ({"lam": -1.0}, "lam"),
        ({"lam": math.inf}, "lam"),
        ({"base": "adam"}, "base step"),
        ({"lr": -1.0}, "lr"),
        ({"betas": (1.0, 0.9)}, "betas"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, said):
    weight, channels = one_channel([1.0])
    settings = {"lr": 0.1, "lam": 1.0, "warmup_steps": 0, **wrong}
    with pytest.raises(RecipeError, match=said):
        HalfSpace([weight], settings.pop("lr"), channels=channels, **settings)
