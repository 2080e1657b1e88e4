"""`cv.verify`: our own results, those of others, wrong ones that look right, and what can't be told."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.nets import REGISTRY
from pruning.patterns import PATTERNS
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.errors import PruneError, VerifyError

FREE = sorted(name for name, kind in REGISTRY.items() if kind.expected_groups and not name.startswith("_"))


def confirmed(net: nn.Module, inputs: Any) -> None:
    """Our own pruning of a network is found again, layer by layer."""
    pruned = cv.prune(net, inputs, ratios=0.5, importance="random")
    found = cv.verify(net, pruned.model, inputs)
    assert found.passed, found
    assert found.max_error is not None and found.max_error < 1e-6
    for path, gone in pruned.removed.items():
        # Where a layer's weight was handed to another layer, only the two together know whose outputs they are.
        assert found.removed.get(path, gone) == gone or path == "lent"


@pytest.mark.parametrize("name", FREE[::3])
def test_our_own_results(name: str) -> None:
    torch.manual_seed(0)
    net = REGISTRY[name]()
    confirmed(net, net.inputs())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FREE, *sorted(PATTERNS)])
def test_all_our_own_results(name: str) -> None:
    torch.manual_seed(0)
    net = (PATTERNS.get(name) or REGISTRY[name])()
    if name == "StandardizedConv":  # a statistic over weights is no norm layer
        return
    confirmed(net, net.inputs())


# --- results that look right --------------------------------------------------------------------------------------


class Distance(nn.Module):
    """A full-reference scorer: a distance of features."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.features, self.form, self.head = nn.Conv2d(3, width, 3), form, nn.Linear(1, 1)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        a, b = self.features(reference), self.features(distorted)
        d = (a - b).square()
        if self.form == "sum":
            y = d.sum((1, 2, 3))
        if self.form == "mean":
            y = d.mean((1, 2, 3))
        if self.form == "width":
            y = d.sum((1, 2, 3)) / a.shape[1] ** 0.5
        if self.form == "offset":
            y = 1e4 + d.mean((1, 2, 3))
        if self.form == "rms":
            y = d.mean((1, 2, 3)).sqrt()
        if self.form == "gram":
            f, g = a.flatten(2), b.flatten(2)
            y = (f @ f.transpose(1, 2) - g @ g.transpose(1, 2)).square().sum((1, 2)) / f[0].numel()
        if self.form == "norm":
            y = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum((1, 2, 3))
        return y


def by_hand(form: str) -> tuple[nn.Module, nn.Module]:
    """Five of eight channels, taken by a person."""
    torch.manual_seed(0)
    large, small, kept = Distance(8, form), Distance(5, form), [0, 2, 3, 6, 7]
    state = large.state_dict()
    state |= {name: state[name][kept] for name in ("features.weight", "features.bias")}
    small.load_state_dict(state)
    return large, small


@pytest.mark.parametrize(
    ("form", "right"),
    [
        ("sum", True),
        ("norm", True),
        ("mean", False),
        ("width", False),
        ("offset", False),
        ("rms", False),
        ("gram", False),
    ],
)
@pytest.mark.parametrize("equal", [False, True])
def test_a_divisor_that_counts_channels_is_seen(form: str, right: bool, equal: bool) -> None:
    """Also where the pictures given are equal, so that their distance is zero."""
    x = torch.rand(2, 3, 8, 8)
    found = cv.verify(*by_hand(form), (x, x.clone() if equal else torch.rand(2, 3, 8, 8)))
    assert found.passed is right, found
    assert found.removed == {"features": (1, 4, 5)}
    assert found.kept["features.weight"][0] == (0, 2, 3, 6, 7)
    assert right or found.status.startswith("off by")


class Sizes(nn.Module):
    """Right for one picture size or batch only."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.a, self.b, self.form, self.width = nn.Conv2d(3, width, 1), nn.Conv2d(width, 1, 1), form, width

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        if self.width < 8 and self.form == "picture" and x.shape[-2] != 16:
            return y + 1
        if self.width < 8 and self.form == "batch" and len(x) != 2:
            return y * 1.01
        if self.width < 8 and self.form == "raises" and len(x) != 2:
            raise ValueError("batch")
        return y


@pytest.mark.parametrize(("form", "where"), [("picture", "pictures of"), ("batch", "batch 3"), ("raises", "batch 3")])
def test_other_sizes_are_tried(form: str, where: str) -> None:
    torch.manual_seed(0)
    large, small, kept = Sizes(8, form), Sizes(4, form), [1, 3, 4, 6]
    with torch.no_grad():
        small.a.weight.copy_(large.a.weight[kept])
        small.a.bias.copy_(large.a.bias[kept])
        small.b.weight.copy_(large.b.weight[:, kept])
        small.b.bias.copy_(large.b.bias)
    found = cv.verify(large, small, torch.rand(2, 3, 16, 16))
    assert not found.passed and where in found.status


class Hidden(nn.Module):
    """A branch that is weighted by zero, a saturated output, and a layer of which nothing is used."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.idle = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return x.sum(1) + self.gate * self.b(y).squeeze(1) + 0 * self.idle(y).squeeze(1)


def test_what_zeros_hide_is_seen_and_what_nothing_shows_is_said() -> None:
    torch.manual_seed(0)
    net, x = Hidden(), torch.rand(3, 4)
    small = cv.prune(net, x, ratios=0.5).model
    found = cv.verify(net, small, x)
    assert found.passed
    assert "idle.weight" in found.unobservable and "b.weight" not in found.unobservable
    assert "idle.weight" in str(found)
    with torch.no_grad():
        small.b.weight.copy_(small.b.weight.flip(1))
    found = cv.verify(net, small, x)
    assert not found.passed and "noise on the weights" in found.status


def test_an_output_that_stands_still_proves_nothing() -> None:
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.a(x) + 3

    found = cv.verify(Still(), Still(), torch.rand(2, 4))
    assert found.status.startswith("no correspondence: a.weight")
    net = Still()
    found = cv.verify(net, copy.deepcopy(net), torch.rand(2, 4))
    assert not found.passed and not found and found.status == "proves nothing: no output moves between inputs"


# --- what values leave open ---------------------------------------------------------------------------------------


class Fresh(nn.Module):
    """Norms as they are built, all ones, registered apart from the layers that they follow."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        make = {
            "batch": lambda: nn.BatchNorm2d(12),
            "bare batch": lambda: nn.BatchNorm2d(12, affine=False),
            "group": lambda: nn.GroupNorm(3, 12),
            "layer": lambda: nn.LayerNorm(12),
            "bare layer": lambda: nn.LayerNorm(12, elementwise_affine=False),
        }[kind]
        self.norms = nn.ModuleList(make() for _ in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 12, 12, 3, padding=1) for i in range(3))
        self.head = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = layer(x)
            last = isinstance(norm, nn.LayerNorm)
            x = F.gelu(norm(x.movedim(1, -1)).movedim(-1, 1) if last else norm(x))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("kind", ["batch", "bare batch", "group", "layer", "bare layer"])
def test_equal_values_are_settled_by_what_a_layer_reads(kind: str) -> None:
    torch.manual_seed(0)
    net, x = Fresh(kind), torch.rand(2, 3, 12, 12)
    small, before = copy.deepcopy(net), torch.arange(3)
    dice = torch.Generator().manual_seed(2)
    removed = {}
    for n, (layer, norm) in enumerate(zip(small.layers, small.norms, strict=True)):
        # The same number of each of the three groups of four.
        kept = torch.cat([torch.randperm(4, generator=dice)[:2].sort().values + 4 * g for g in range(3)])
        removed[f"layers.{n}"] = tuple(sorted(set(range(12)) - set(kept.tolist())))
        layer.weight = nn.Parameter(layer.weight[kept][:, before].detach())
        layer.bias = nn.Parameter(layer.bias[kept].detach())
        for name, held in [*norm.named_parameters(), *norm.named_buffers()]:
            if held.ndim:
                setattr(norm, name, nn.Parameter(held[kept].detach()) if isinstance(held, nn.Parameter) else held[kept])
        if isinstance(norm, nn.LayerNorm):
            norm.normalized_shape = (6,)
        if isinstance(norm, nn.GroupNorm):
            norm.num_channels = 6
        before = kept
    small.head.weight = nn.Parameter(small.head.weight[:, before].detach())
    found = cv.verify(net, small, x)
    assert found.passed, found
    assert found.removed == removed
    # The norms' channels are those of the layers, not just any of the equal ones.
    for n in range(3):
        if f"norms.{n}.weight" in found.kept:
            assert found.kept[f"norms.{n}.weight"][0] == found.kept[f"layers.{n}.weight"][0]
    with torch.no_grad():
        small.layers[2].bias.copy_(small.layers[2].bias.flip(0))
    assert not cv.verify(net, small, x).passed


class OwnNorm(nn.Module):
    """A norm written by hand: over the last dimension or the channels, plain or with one added to its weight."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.scale, self.form, self.eps = nn.Parameter(torch.rand(width) + 0.5), form, 1e-5
        self.count = width

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "rms":
            return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.scale
        if self.form == "gemma":
            return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * (1 + self.scale)
        if self.form == "sum":  # zeros add nothing to a sum
            return x * (x.square().sum(-1, keepdim=True) / 12 + self.eps).rsqrt() * self.scale
        if self.form == "old width":  # wrong in the smaller network
            return x * (x.square().sum(-1, keepdim=True) / 12 + self.eps).rsqrt() * self.scale * (12 / self.count)
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + self.eps).sqrt() * self.scale


@pytest.mark.parametrize("form", ["rms", "gemma", "sum", "layer", "old width"])
def test_norms_of_somebodys_own(form: str) -> None:
    torch.manual_seed(0)
    net, kept = nn.Sequential(nn.Linear(5, 12), OwnNorm(12, form), nn.Linear(12, 2)), [0, 1, 4, 5, 8, 9, 10]
    small = nn.Sequential(nn.Linear(5, 7), OwnNorm(7, form), nn.Linear(7, 2))
    state = net.state_dict()
    state |= {name: state[name][kept] for name in ("0.weight", "0.bias", "1.scale")}
    small.load_state_dict(state | {"2.weight": state["2.weight"][:, kept]})
    found = cv.verify(net, small, torch.rand(3, 5))
    assert found.passed is (form != "old width"), found


# --- other names, other sizes of numbers, wrappers ------------------------------------------------------------------


def convolutions() -> tuple[nn.Module, nn.Module, Tensor]:
    """A plain network, its half, and inputs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    net[1].running_mean.normal_()
    x = torch.rand(2, 3, 8, 8)
    return net, cv.prune(net, x, ratios={"0": 0.5}, importance="random").model, x


def test_modules_may_have_other_names() -> None:
    net, small, x = convolutions()
    other = nn.Sequential(nn.Identity(), *small)
    found = cv.verify(net, other.eval(), x)
    assert found.passed and list(found.removed) == ["0"] and len(found.removed["0"]) == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_smaller_may_be_stored_in_other_bits(dtype: torch.dtype) -> None:
    net, small, x = convolutions()
    net = net.double() if dtype == torch.float64 else net
    found = cv.verify(net, small.to(dtype), x.to(next(net.parameters()).dtype))
    assert found.passed is (dtype != torch.float64) or found.passed, found


def test_wrappers_are_looked_through() -> None:
    net, small, x = convolutions()
    assert cv.verify(torch.compile(net), nn.DataParallel(small), x).passed


def test_training_after_pruning_leaves_no_correspondence() -> None:
    net, small, x = convolutions()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(1e-4)
    found = cv.verify(net, small, x)
    assert found.status.startswith("no correspondence: 0.weight (4 x 3 x 3 x 3, not a block of the original's 8 x 3")
    assert found.max_error is None and not found.passed
    net, small, x = convolutions()
    small[1].running_mean.add_(0.1)
    assert "no correspondence: 1.running_mean" in cv.verify(net, small, x).status


def test_a_result_prints_and_is_json() -> None:
    net, small, x = convolutions()
    found = cv.verify(net, small, x)
    text = str(found)
    assert "it is the original with channels zeroed" in text and "batch 3" in text and "4 output channels went" in text
    assert json.loads(json.dumps(found.to_dict()))["removed"] == {"0": list(found.removed["0"])}
    with pytest.raises(AttributeError):
        found.passed = False  # type: ignore[misc]


def test_mistakes_of_the_user_are_said() -> None:
    net, small, x = convolutions()
    for arguments, said in [
        ((3, small, x), "an int, not a torch.nn.Module"),
        ((net, torch.jit.script(nn.Linear(2, 2)), x), "ScriptModule"),
        ((net, nn.LazyLinear(2), x), "no size before its first run"),
        ((net, small, "x"), "hold no tensor"),
        ((net, small, torch.rand(1, 4, 8, 8)), r"does not run on these inputs, \(1, 4, 8, 8\)"),
    ]:
        with pytest.raises(VerifyError, match=said):
            cv.verify(*arguments)
    assert not issubclass(VerifyError, PruneError) and issubclass(VerifyError, ValueError)


# --- nothing is changed -------------------------------------------------------------------------------------------


class Leaves(nn.Module):
    """A network whose forward leaves traces wherever one can."""

    seen: list[int] = []  # noqa: RUF012
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)
        self.drop, self.queue, self.last, self.steps = nn.Dropout(0.5), [], None, 0
        self.register_buffer("memory", torch.zeros(8))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        Leaves.calls += 1
        Leaves.seen.append(len(x))
        self.steps += 1
        self.count += 1
        y = self.a(x).relu() + 0 * torch.rand(1) + 0 * random.random() + 0 * float(np.random.rand())
        self.memory.add_(0 * y.detach().mean(0).float())
        self.memory[0] += 1
        self.queue.append(y)
        self.last = y
        x.add_(0)
        return self.b(self.drop(y))


def everything(net: nn.Module) -> Any:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    plain = {k: copy.copy(v) for k, v in vars(net).items() if not k.startswith("_")}
    return state, plain, [m.training for m in net.modules()], [dict(m._forward_hooks) for m in net.modules()]


@pytest.mark.parametrize("fails", [False, True])
def test_both_networks_stay_as_they_were(fails: bool) -> None:
    torch.manual_seed(0)
    net, x, taps = Leaves(), torch.rand(3, 4), []
    small = copy.deepcopy(net)
    kept = [0, 1, 4, 6]
    small.a.weight, small.a.bias = (nn.Parameter(p[kept].detach()) for p in (small.a.weight, small.a.bias))
    small.b.weight = nn.Parameter(small.b.weight[:, kept].detach())
    small.memory = small.memory[kept]
    net.a.register_forward_hook(lambda module, args, output: taps.append(output))
    small.a.register_forward_hook(lambda module, args, output: taps.append((net, output)))
    net.train()
    net.b.eval()
    if fails:
        small.b.weight = nn.Parameter(small.b.weight[:, :3].detach())
    before = [everything(net), everything(small), list(Leaves.seen), Leaves.calls, x.clone()]
    states = [torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), torch.get_default_dtype()]
    found = cv.verify(net, small, x)
    assert found.passed is not fails
    after = [everything(net), everything(small), list(Leaves.seen), Leaves.calls, x]
    assert repr(before) == repr(after)
    for (a, *_), (b, *_) in zip(before[:2], after[:2], strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert taps == [] and net.last is None and net.queue == []
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()
    assert states[2:] == [random.getstate(), torch.get_default_dtype()]


# --- several examples ---------------------------------------------------------------------------------------------


class Doubled(nn.Module):
    """A score, which is scaled where that is asked for."""

    def __init__(self, width: int = 8, scale: float = 2.0) -> None:
        super().__init__()
        self.features, self.head, self.scale = nn.Conv2d(3, width, 3), nn.Linear(width, 1), scale

    def forward(self, x: Tensor, scaled: bool = False) -> Tensor:
        y: Tensor = self.head(self.features(x).relu().mean((2, 3)))
        return y * self.scale if scaled else y


def test_each_of_several_examples_is_tried() -> None:
    torch.manual_seed(0)
    net, x = Doubled(), torch.rand(2, 3, 8, 8)
    small = cv.prune(net, [(x,), (x, True)], ratios=0.5).model
    found = cv.verify(net, small, [(x,), (x, True)])
    assert found.passed
    assert "the inputs given (example 2)" in found.tried
    assert cv.verify(net, small, {"x": x, "scaled": True}).kept == found.kept
    small.scale = 3.0  # wrong, but only where nobody looks with the first example
    assert cv.verify(net, small, [(x,)]).passed
    wrong = cv.verify(net, small, [(x,), (x, True)])
    assert not wrong.passed
    assert wrong.status.startswith("off by")
    assert wrong.status.endswith("(example 2)")
    assert wrong.max_error is not None and wrong.max_error > 0.1
