"""What people bring: each is let in and pruned rightly, or refused in one line that says what to bring instead."""

from __future__ import annotations

import copy
import functools
import types
import warnings
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn.utils import prune as masks

from compressvqa.errors import PruneError
from compressvqa.pruning import Schedule, prune, trace
from compressvqa.pruning.recording.running import run

X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Chain(nn.Module):
    """Two convolutions and a linear layer; `forward` may be another one."""

    def __init__(self, forward: Callable[[Any, Tensor], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 1)
        self.other = forward

    def forward(self, x: Tensor) -> Any:
        if self.other is not None:
            return self.other(self, x)
        return self.c(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))


def chain(prepare: Callable[[Chain], Any] = lambda net: None) -> Any:
    """A chain after `prepare`, or what `prepare` makes of it."""
    net = Chain()
    made = prepare(net)
    return net if made is None else made


def zeroed_by_hand(net: nn.Module, removed: dict[str, tuple[int, ...]]) -> nn.Module:
    """A chain of plain layers whose rows are zero where channels went."""
    for path, channels in removed.items():
        layer: Any = net.get_submodule(path)
        layer.weight.data[list(channels)] = 0
        layer.bias.data[list(channels)] = 0
    return net


def answer(net: nn.Module, inputs: Any = (X,)) -> Tensor:
    with torch.no_grad():
        result: Tensor = run(net.eval(), inputs)
        return result


def raising(error: Exception) -> Chain:
    def forward(net: Chain, x: Tensor) -> Tensor:
        raise error

    return Chain(forward)


def asserting(net: Chain, x: Tensor) -> Tensor:
    if x.shape[1] != 5:
        raise AssertionError  # what a bare `assert` raises; pytest would write a text into one
    return net.a(x)


def generating(net: Chain, x: Tensor) -> Iterator[Tensor]:
    yield net.a(x)


def ready_for_quantisation(net: Chain) -> Any:
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
    return quantization.prepare_qat(net.train())


def held_by_a_closure(net: Chain) -> None:
    net.forward = lambda x: net.c(net.b(net.a(x)).mean((2, 3)))  # type: ignore[method-assign]


def held_by_a_method(net: Chain) -> None:
    last = net.c.forward
    net.forward = lambda x: last(net.b(net.a(x)).mean((2, 3)))  # type: ignore[method-assign]


GLOBAL = Chain()
GLOBAL.forward = lambda x: GLOBAL.c(GLOBAL.b(GLOBAL.a(x)).mean((2, 3)))  # type: ignore[method-assign]


def lazy_inside(net: Chain) -> None:
    net.b = nn.LazyConv2d(8, 3)  # type: ignore[assignment]


def script_inside(net: Chain) -> None:
    net.b = torch.jit.script(net.b)


SCRIPT, INPUTS = "TorchScript, which can't be looked into", "a tensor, a tuple of tensors by position, or a dict"
REFUSED: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "script": (lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 3))), X, SCRIPT),
    "script inside": (lambda: chain(script_inside), X, f"^b: .*{SCRIPT}"),
    "jit trace": (lambda: torch.jit.trace(Chain().eval(), X), X, f"{SCRIPT}.*try: the Python module"),
    "export": (lambda: torch.export.export(Chain().eval(), (X,)).module(), X, "torch.export.*try: the module that was"),
    "exported program": (lambda: torch.export.export(Chain().eval(), (X,)), X, "torch.export"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1)), X, "0.weight: a lazy layer .*run the network"),
    "lazy inside": (lambda: chain(lazy_inside), X, "b.weight: a lazy layer"),
    "quantisation-aware": (lambda: chain(ready_for_quantisation), X, "^a: .*ready for quantisation.*the float network"),
    "fake quantise": (lambda: nn.Sequential(Chain(), quantization.FakeQuantize()), X, "^1: FakeQuantize"),
    "observer": (lambda: nn.Sequential(Chain(), quantization.MinMaxObserver()), X, "^1: MinMaxObserver"),
    "quantised": (lambda: quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8))), X, "ready for quantisation"),
    "meta network": (lambda: Chain().to("meta"), X.to("meta"), "a.weight: .*meta device.*load its weights"),
    "sparse weight": (lambda: chain(lambda n: setattr(n.c, "weight", nn.Parameter(torch.eye(8).to_sparse()))), X,
                      "c.weight: the tensor is sparse"),
    "class": (lambda: Chain, X, r"Chain is a class, not a network \(try: Chain\(\)\)"),
    "function": (lambda: asserting, X, "a network must be an nn.Module, not the function asserting"),
    "method": (lambda: Chain().forward, X, "a network must be an nn.Module, not the function Chain.forward"),
    "name": (lambda: "rankdvqa", X, "the network is a text, 'rankdvqa' .*create_model"),
    "weights": (lambda: Chain().state_dict(), X, "these are weights, not a network"),
    "list": (lambda: [Chain()], X, "a network must be an nn.Module, not a list"),
    "None": (lambda: None, X, "a network must be an nn.Module, not a NoneType"),
    "global": (lambda: GLOBAL, X, "its forward was replaced by a function that holds the network"),
    "closure of a method": (lambda: chain(held_by_a_method), X, "its forward was replaced by a function that holds"),
    "no inputs": (Chain, None, f"no inputs to run the network on .*{INPUTS}"),
    "empty tuple": (Chain, (), "TypeError: .*missing 1 required .*inputs that hold tensors"),
    "text": (Chain, "clip.mp4", f"can't be called with a str .*{INPUTS}"),
    "texts": (Chain, ("clip.mp4",), "the network raises TypeError: .*inputs that hold tensors"),
    "number": (Chain, 3, f"can't be called with a int .*{INPUTS}"),
    "size": (Chain, (2, 3, 8, 8), "the network raises TypeError"),
    "generator": (Chain, (x for x in [X]), "a generator is used up by one run"),
    "loader": (Chain, torch.utils.data.DataLoader([X]), r"a DataLoader holds batches.*next\(iter"),  # type: ignore[arg-type]
    "set": (Chain, {X}, "can't be called with a set"),
    "module": (Chain, Chain(), "can't be called with a Chain"),
    "numpy": (Chain, X.numpy(), r"numpy arrays \(try: torch.from_numpy"),
    "numpy inside": (Chain, {"x": [X.numpy()]}, "numpy arrays"),
    "another name": (Chain, {"y": X}, "TypeError: .*unexpected keyword argument 'y'"),
    "sparse": (Chain, X.to_sparse(), r"inputs: the tensor is sparse .*to_dense"),
    "nested": (Chain, torch.nested.nested_tensor([X[0], X[1]]), "inputs: a nested tensor .*to_padded_tensor"),
    "quantised input": (Chain, torch.quantize_per_tensor(X, 0.1, 0, torch.quint8), "inputs: the tensor is quantised"),
    "another device": (Chain, X.to("meta"), "the network raises .*inputs on cpu, where the network is, not on meta"),
    "another type": (Chain, X.double(), "inputs of torch.float32, as the network is, not of torch.float64"),
    "integers": (Chain, X.to(torch.uint8), "inputs of torch.float32, as the network is, not of torch.uint8"),
    "wrong size": (Chain, X[:, :2], r"^test_doors.py:\d+: .* RuntimeError: .*to have 3 channels, but got 2"),
    "bare assert": (lambda: Chain(asserting), X, r"^test_doors.py:\d+: the network raises AssertionError w"),
    "two lines": (lambda: raising(ValueError("one\ntwo")), X, r"^test_doors.py:\d+: .* raises ValueError: one"),
    "key": (lambda: raising(KeyError("k")), X, "KeyError: 'k'"),
    "end": (lambda: raising(StopIteration()), X, "StopIteration without a text"),
    "long text": (lambda: raising(ValueError("x" * 999)), X, r"ValueError: x{200}\.\.\."),
    "generator output": (lambda: Chain(generating), X, "the network returned no tensor .*generator"),
    "no output": (lambda: Chain(lambda net, x: None), X, r"the network returned no tensor \(but None\)"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_accepted_is_said_in_one_line(name: str) -> None:
    make, inputs, message = REFUSED[name]
    model = make()
    for call in (lambda: prune(model, inputs, ratios=0.5), lambda: Schedule(model, inputs, steps=2, ratios=0.5)):
        with pytest.raises(PruneError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_an_error_of_the_forward_keeps_its_cause() -> None:
    own = ValueError("own")
    with pytest.raises(PruneError) as caught:
        trace(raising(own), X)
    assert caught.value.__cause__ is own


def test_an_error_inside_a_network_of_libraries_names_the_module() -> None:
    with pytest.raises(PruneError, match=r"^0\.1: the network raises"):
        trace(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(9, 3))), X)


# -- wrappers --------------------------------------------------------------------------------------------------------


def compiled_inside(net: Chain) -> None:
    net.b = torch.compile(net.b, backend="eager")  # type: ignore[assignment]


WRAPPED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "parallel": (lambda: nn.DataParallel(Chain()), "DataParallel"),
    "parallel inside": (lambda: chain(lambda n: setattr(n, "b", nn.DataParallel(n.b))), "DataParallel at b"),
    "compiled": (lambda: torch.compile(Chain(), backend="eager"), "OptimizedModule"),  # type: ignore[return-value]
    "compiled inside": (lambda: chain(compiled_inside), "OptimizedModule at b"),
    "compiled in place": (lambda: chain(lambda n: n.compile(backend="eager")), "compile()"),
    "both": (lambda: nn.DataParallel(torch.compile(Chain(), backend="eager")), "OptimizedModule"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_network_is_pruned_like_the_one_inside(name: str) -> None:
    make, said = WRAPPED[name]
    wrapped, plain = make(), prune(Chain(), X, ratios=0.5)
    before = copy.deepcopy(wrapped.state_dict())
    pruned = prune(wrapped, X, ratios=0.5)
    assert pruned.removed == plain.removed
    assert f"{said} is left out: the result is the network inside" in pruned.plan.notes
    mine, theirs = pruned.model.state_dict(), plain.model.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert torch.equal(answer(pruned.model), answer(plain.model))
    assert all(torch.equal(value, before[key]) for key, value in wrapped.state_dict().items())
    last = list(Schedule(wrapped, X, steps=2, ratios=0.5))[-1]
    assert {k: v.shape for k, v in last.model.state_dict().items()} == {k: v.shape for k, v in theirs.items()}


def test_a_compiled_function_in_a_forward_runs_as_it_was_written() -> None:
    double = torch.compile(lambda x: F.relu(x) * 2, backend="eager")
    net = Chain(lambda net, x: net.c(double(net.b(F.relu(net.a(x)))).mean((2, 3))))
    plain = Chain(lambda net, x: net.c((F.relu(net.b(F.relu(net.a(x)))) * 2).mean((2, 3))))
    assert prune(net, X, ratios=0.5).removed == prune(plain, X, ratios=0.5).removed


# -- what simply works -----------------------------------------------------------------------------------------------


def weight_norm(net: Chain) -> None:
    nn.utils.weight_norm(net.a)
    nn.utils.weight_norm(net.b)


def without_weight_norm(net: Chain) -> None:
    nn.utils.remove_weight_norm(net.a)
    nn.utils.remove_weight_norm(net.b)


def masked(net: Chain) -> None:
    masks.l1_unstructured(net.a, "weight", 0.3)
    masks.random_unstructured(net.b, "weight", 0.3)
    masks.l1_unstructured(net.b, "bias", 0.25)


def without_masks(net: Chain) -> None:
    masks.remove(net.a, "weight")
    masks.remove(net.b, "weight")
    masks.remove(net.b, "bias")


def spectral_norm(net: Chain) -> None:
    nn.utils.spectral_norm(net.a)


def without_spectral_norm(net: Chain) -> None:
    nn.utils.remove_spectral_norm(net.a)


OLD = [(weight_norm, without_weight_norm), (masked, without_masks), (spectral_norm, without_spectral_norm)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ran", [False, True], ids=["before its first run", "after it"])
@pytest.mark.parametrize(("add", "remove"), OLD, ids=lambda function: function.__name__)
def test_weights_that_old_hooks_work_out(
    add: Callable[[Chain], None], remove: Callable[[Chain], None], ran: bool
) -> None:
    net = chain(add)
    if ran:
        answer(net)
        net(X)
    pruned = prune(net, X, ratios=0.5)
    assert {path: len(channels) for path, channels in pruned.removed.items()} == {"a": 4, "b": 4}
    assert pruned.model.a.out_channels == pruned.model.b.in_channels == 4
    plain = Chain()
    add(plain)
    plain.load_state_dict(net.state_dict())
    plain.eval()
    for name, parameter in plain.b.named_parameters():
        if name in ("weight_v", "weight_orig"):  # a norm is that of the weights that are kept
            parameter.data[:, list(pruned.removed["a"])] = 0
    for layer in (plain.a, plain.b):
        if hasattr(layer, "weight_orig"):
            layer.weight_orig.data[list(pruned.removed["a" if layer is plain.a else "b"])] = 0
    remove(plain)
    expected = answer(zeroed_by_hand(plain, pruned.removed))
    assert torch.allclose(answer(pruned.model), expected, atol=1e-6)
    copy.deepcopy(pruned.model)  # the result holds no tensor with a past
    remove(pruned.model)
    assert torch.allclose(answer(pruned.model), expected, atol=1e-6)


def test_a_state_that_a_forward_keeps_is_no_obstacle() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        net.seen = [F.relu(net.a(x))]
        return net.c(net.b(net.seen[0]).mean((2, 3)))

    net = Chain(forward)
    net(X)
    pruned = prune(net, X, ratios=0.5)
    assert pruned.removed.keys() == {"a", "b"} and net.seen[0].grad_fn is not None


def called(net: Chain, x: Tensor) -> Tensor:
    return torch.func.functional_call(net.b, dict(net.b.named_parameters()), (F.relu(net.a(x)),))  # type: ignore[no-any-return]


def rewritten(net: Chain) -> None:
    net.forward = types.MethodType(lambda net, x: net.c(F.relu(net.b(F.relu(net.a(x)))).mean((2, 3))), net)  # type: ignore[method-assign]


def rewritten_partly(net: Chain) -> None:
    net.forward = functools.partial(Chain.forward, net)  # type: ignore[method-assign]


WORKING: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "vmap": (lambda: Chain(lambda n, x: n.c(torch.vmap(lambda t: F.relu(t) * 2)(n.b(n.a(x))).mean((2, 3)))), X),
    "vmap of a size": (lambda: Chain(lambda n, x: n.c(torch.vmap(
        lambda t: t.reshape(t.shape[0], -1).mean(1))(n.b(n.a(x))))), X),
    "vmap over channels": (lambda: Chain(lambda n, x: n.c(torch.vmap(
        lambda t: t.mean((1, 2)), in_dims=1, out_dims=1)(n.b(n.a(x))))), X),
    "vmap of a layer": (lambda: Chain(lambda n, x: n.c(torch.vmap(lambda t: n.b(t[None])[0])(n.a(x)).mean((2, 3)))), X),
    "functional call": (lambda: Chain(lambda n, x: n.c(called(n, x).mean((2, 3)))), X),
    "fx": (lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))), X),
    "method": (lambda: chain(rewritten), X),
    "partial": (lambda: chain(rewritten_partly), X),
    "closure": (lambda: chain(held_by_a_closure), X),
    "gradient of the input": (Chain, X.clone().requires_grad_()),
    "one of many mappings": (Chain, UserDict(x=X)),
    "half": (lambda: Chain().half(), X.half()),
    "bfloat16": (lambda: Chain().bfloat16(), X.bfloat16()),
    "float64": (lambda: Chain().double(), X.double()),
    "float stubs": (lambda: nn.Sequential(quantization.QuantStub(), Chain(), quantization.DeQuantStub()), X),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKING)
def test_what_simply_works(name: str) -> None:
    make, inputs = WORKING[name]
    net = make()
    pruned = prune(net, inputs, ratios=0.5)
    assert sum(len(channels) for channels in pruned.removed.values()) >= 4
    inputs = dict(inputs) if isinstance(inputs, UserDict) else inputs
    expected = answer(zeroed_by_hand(net, pruned.removed), inputs)
    close = 1e-5 if expected.dtype in (torch.float32, torch.float64) else 2e-2
    assert torch.allclose(answer(pruned.model, inputs), expected, atol=close, rtol=close)


def test_inference_mode_around_the_network_and_around_pruning() -> None:
    plain = prune(Chain(), X, ratios=0.5)
    with torch.inference_mode():
        made = Chain()
        within = prune(made, X, ratios=0.5)
    after = prune(made, X, ratios=0.5)
    for pruned in (within, after):
        assert pruned.removed == plain.removed
        pruned.model(X).sum().backward()  # it can be trained
        assert torch.equal(answer(pruned.model), answer(plain.model))
    assert made.a.weight.is_inference()


# -- torch.where -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True], ids=["kept where true", "kept where false"])
@pytest.mark.parametrize("fill", [None, 1.0])
def test_where_is_judged_on_both_branches(turned: bool, fill: float | None) -> None:
    """A sum over channels counts what stands in the place of a masked channel, so it must be zero as well."""

    def forward(net: Chain, x: Tensor) -> Tensor:
        y = net.b(F.relu(net.a(x)))
        other = y * 0.5 if fill is None else torch.full((1,), fill)
        mask = x.mean(1, keepdim=True) > 0.5
        return torch.where(mask, *((other, y) if turned else (y, other))).sum((1, 2, 3))

    net = Chain(forward)
    pruned = prune(net, X, ratios=0.5)
    assert ("b" in pruned.removed) == (fill is None)
    expected = answer(zeroed_by_hand(copy.deepcopy(net), pruned.removed))
    assert torch.allclose(answer(pruned.model), expected, rtol=1e-4)


def test_numpy_numbers_are_numbers() -> None:
    net = Chain(lambda net, x: net.c(net.b(net.a(x)).mean((2, 3))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prune(net, (X,), ratios=float(np.float32(0.5))).removed
