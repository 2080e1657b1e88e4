"""torch's private interfaces do what we take them to do; nobody but `torch_private` touches them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import prune as masks

from compressvqa import torch_private as private

PACKAGE = Path(private.__file__).parent
# What is private to torch, as it would be spelled where it is used.
SPELLED = re.compile(
    r"from torch(\.\w+)*\._|import torch\._|torch\._[a-zA-Z]|from torch\.overrides|from torch\.utils\.weak|"
    r"nn\.modules\.\w+|torch\.ao\b(?!\.)|\b_NormBase\b|\b_ConvNd\b|\._schema\b|\._orig_mod\b|_compiled_call_impl|"
    r"\._(parameters|buffers|modules|forward_hooks|forward_pre_hooks|flat_weights|non_persistent_buffers_set)\b"
)


def test_nobody_else_touches_them() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name != "torch_private.py"
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if ">>>" not in line and SPELLED.search(line.partition("  #")[0].replace("self._", ""))
    ]
    assert not found, "import these from compressvqa.torch_private:\n" + "\n".join(found)


@pytest.mark.parametrize("line", ["from torch._C import x", "func._schema", "torch._foreach_add_(a)", "m._modules"])
def test_the_search_can_find(line: str) -> None:
    assert SPELLED.search(line)


def test_convolutions_and_batch_norms() -> None:
    for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
        assert issubclass(kind, private.CONVOLUTION) and not issubclass(kind, private.BATCH_OR_INSTANCE_NORM)
    for norm in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm):
        assert issubclass(norm, private.BATCH_NORM) and issubclass(norm, private.BATCH_OR_INSTANCE_NORM)
    assert issubclass(nn.InstanceNorm2d, private.BATCH_OR_INSTANCE_NORM)
    assert not issubclass(nn.InstanceNorm2d, private.BATCH_NORM)
    for other in (nn.Linear, nn.GroupNorm, nn.LayerNorm):
        assert not issubclass(other, (private.CONVOLUTION, private.BATCH_OR_INSTANCE_NORM))


def test_tables_are_the_modules_own() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2, bias=False))
    parameters, buffers, modules = private.tables(net)
    assert (parameters, buffers, list(modules)) == ({}, {}, ["0", "1"])
    modules["1"] = nn.Linear(3, 5)
    assert net(torch.rand(2, 3)).shape == (2, 5)  # it is the table itself, not a copy
    assert private.tables(net[0])[1].keys() == {"running_mean", "running_var", "num_batches_tracked"}
    assert private.tables(net[0])[0] == {"weight": None, "bias": None}


def test_stored_names_are_those_of_the_state_dict() -> None:
    layer = nn.BatchNorm1d(3)
    layer.register_buffer("passing", torch.zeros(1), persistent=False)
    assert set(private.stored_names(layer)) == set(layer.state_dict())


def test_hook_tables_hold_every_hook() -> None:
    layer = nn.Linear(2, 2)
    before = [len(getattr(layer, name)) for name in private.HOOK_TABLES]
    handles = [
        layer.register_forward_hook(lambda module, args, output: None),
        layer.register_forward_pre_hook(lambda module, args: None),
        layer.register_forward_hook(lambda module, args, kwargs, output: None, with_kwargs=True),
        layer.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True),
        layer.register_forward_hook(lambda module, args, output: None, always_call=True),
    ]
    assert [len(getattr(layer, name)) for name in private.HOOK_TABLES] == [3, 2, 1, 1, 1]
    assert private.has_hooks(layer)
    for handle in handles:
        handle.remove()
    assert [len(getattr(layer, name)) for name in private.HOOK_TABLES] == before
    assert not private.has_hooks(layer)


@pytest.mark.filterwarnings("ignore")
def test_weight_hooks_work_out_a_weight() -> None:
    for wrap, part in (
        (nn.utils.weight_norm, "weight_g"),
        (nn.utils.spectral_norm, "weight_orig"),
        (lambda layer: masks.l1_unstructured(layer, "weight", 0.5), "weight_orig"),
    ):
        layer: Any = wrap(nn.Linear(3, 3))  # type: ignore[operator]
        layer.eval()
        layer.register_forward_pre_hook(lambda module, args: None)  # one of the user's own
        (hook,) = private.weight_hooks(layer)
        before = layer.weight.clone()
        with torch.no_grad():
            getattr(layer, part).mul_(3.0)
        hook(layer, ())
        assert not torch.equal(layer.weight, before)
    assert private.weight_hooks(nn.Linear(2, 2)) == []


def test_hooks_before_and_after_a_forward() -> None:
    before, after = nn.ReLU(), nn.ReLU()
    before.register_forward_pre_hook(lambda module, args: None)
    after.register_forward_hook(lambda module, args, output: None)
    assert [private.has_hooks(m) for m in (before, after, nn.ReLU())] == [True, True, False]


def test_operators_that_write_nothing_may_be_tried() -> None:
    assert private.may_be_tried(torch.ops.aten.add.Tensor)
    assert not private.may_be_tried(torch.ops.aten.add_.Tensor)
    assert not private.may_be_tried(torch.add)


def test_recurrent_layers_find_exchanged_weights() -> None:
    layer, x = nn.GRU(3, 4), torch.rand(5, 3)
    private.tables(layer)[0]["weight_hh_l0"] = nn.Parameter(torch.zeros(12, 4))
    private.flatten_weights_anew(layer)
    other = nn.GRU(3, 4)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], other(x)[0])


class Seen(private.DispatchMode):
    """Notes operators."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators.append(func)
        return func(*args, **kwargs or {})


def test_a_dispatch_mode_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from compressvqa.torch_private import DispatchMode\n"
        "class Mode(DispatchMode):\n"
        "    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n"
        "        print('seen')\n"
        "        return func(*args, **kwargs or {})\n"
        "with Mode():\n"
        "    torch.zeros(1)\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["seen", "False"]


def test_a_dispatch_mode_sees_operators_and_their_signatures() -> None:
    with Seen() as seen, torch.no_grad():
        torch.zeros(2, 3).view(3, 2).add_(1)
    names = [private.operator_name(operator) for operator in seen.operators]
    assert names == ["zeros", "view", "add_"]
    view, add = (private.schema_of(operator) for operator in seen.operators[1:])
    assert view.name == "aten::view" and view.returns[0].alias_info is not None
    assert [a.name for a in add.arguments] == ["self", "other", "alpha"]
    assert [a.alias_info is not None and a.alias_info.is_write for a in add.arguments] == [True, False, False]


def test_a_function_mode_sees_calls() -> None:
    calls = []

    class Calls(private.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(getattr(func, "__name__", "?"))
            return func(*args, **kwargs or {})

    with Calls():
        F.softplus(torch.zeros(2)).chunk(2)
    assert calls[-2:] == ["softplus", "chunk"]


def test_operators_can_be_taken_apart() -> None:
    operator = torch.ops.aten.addcmul.default
    a, b, c = torch.rand(3, 4).unbind(0)
    assert torch.allclose(private.DECOMPOSITIONS[operator](a, b, c, value=2), a + 2 * b * c)


def test_attention_can_be_seen_through() -> None:
    attention, x = nn.MultiheadAttention(8, 2).eval(), torch.rand(5, 1, 8)

    def call(function: Any) -> Tensor:
        weights = (attention.in_proj_weight, attention.in_proj_bias, None, None, False, 0.0)
        out: Tensor = function(x, x, x, 8, 2, *weights, attention.out_proj.weight, attention.out_proj.bias)[0]
        return out

    seen = []

    class Calls(private.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **kwargs or {})

    with Calls():
        through = call(private.seen_through())
    assert F.linear in seen and F.multi_head_attention_forward not in seen
    assert torch.equal(through, call(F.multi_head_attention_forward))


def test_tensors_inside_a_transformation_are_told_apart() -> None:
    inside: list[bool] = []
    torch.vmap(lambda t: (inside.append(private.is_transformed(t)), t)[1])(torch.rand(2, 3))
    torch.func.grad(lambda t: (inside.append(private.is_transformed(t)), t.sum())[1])(torch.rand(3))
    assert inside == [True, True]
    rows, found = torch.rand(2, 3), []
    torch.vmap(torch.vmap(lambda t: (found.append(private.untransformed(t)), t)[1]))(rows)
    assert found[0] is rows is private.untransformed(rows)
    assert not private.is_transformed(torch.rand(2)) and not private.is_transformed(3)


def test_graphs_of_operators() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    assert private.is_graph_of_operators(torch.export.export(net, (torch.rand(1, 2),)).module())
    assert not private.is_graph_of_operators(torch.fx.symbolic_trace(net)) and not private.is_graph_of_operators(net)


def test_what_was_compiled() -> None:
    net = nn.Linear(2, 2)
    compiled: Any = torch.compile(net, backend="eager")
    assert private.compiled_inside(compiled) is net
    assert private.compiled_inside(net) is None and not private.is_compiled_in_place(net)
    net.compile(backend="eager")
    assert private.is_compiled_in_place(net) and private.COMPILED_IN_PLACE in vars(net)


def test_nothing_is_compiled_where_it_should_not_be() -> None:
    made = []

    def backend(graph: Any, inputs: Any) -> Any:
        made.append(graph)
        return graph.forward

    double = torch.compile(lambda x: x * 2, backend=backend)
    with private.uncompiled():
        assert torch.equal(double(torch.ones(2)), torch.full((2,), 2.0)) and not made
    double(torch.ones(2))
    assert made


def test_many_forms_of_one_function_are_kept() -> None:
    import torch._dynamo as compiler

    before = compiler.config.recompile_limit
    with private.many_compiled_forms():
        assert compiler.config.recompile_limit == 256
        assert compiler.config.accumulated_recompile_limit == 1024
    assert compiler.config.recompile_limit == before


def test_trees() -> None:
    tree = {"a": [torch.ones(2), 3], "b": (torch.zeros(1),)}
    assert len(private.tree_leaves(tree)) == 3
    doubled = private.tree_map_only(Tensor, lambda t: t * 2, tree)
    assert doubled["a"][1] == 3 and torch.equal(doubled["a"][0], torch.full((2,), 2.0))


def test_a_weak_table_of_tensors_goes_by_identity_and_forgets() -> None:
    table: Any = private.WeakTensorKeyDictionary()
    one, same = torch.ones(2), torch.ones(2)
    table[one] = "one"
    assert one in table and same not in table and one.view(2) not in table
    del one
    assert len(table) == 0


def test_global_hooks_run_for_every_module_and_after_errors() -> None:
    seen = []
    handles = [
        private.register_module_forward_pre_hook(lambda module, args: seen.append("in")),
        private.register_module_forward_hook(lambda module, args, output: seen.append("out"), always_call=True),
    ]
    try:
        nn.Sequential(nn.ReLU())(torch.ones(1))
        with pytest.raises(RuntimeError):
            nn.Linear(2, 2)(torch.ones(3))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["in", "in", "out", "out", "in", "out"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("add_", (3.0,), lambda x: x + 3),
        ("sub_", ([1.0, 2.0],), lambda x: x - torch.tensor([[1.0], [2.0]])),
        ("mul_", (2.0,), lambda x: x * 2),
        ("div_", ([2.0, 4.0],), lambda x: x / torch.tensor([[2.0], [4.0]])),
        ("clamp_min_", (0.0,), lambda x: x.clamp_min(0)),
        ("sign_", (), lambda x: x.sign()),
        ("clamp_max", ([0.1, 0.2],), lambda x: torch.minimum(x, torch.tensor([[0.1], [0.2]]))),
        ("sign", (), lambda x: x.sign()),
        ("sub", (0.5,), lambda x: x - 0.5),
        ("sqrt", (), lambda x: x.sqrt()),
    ],
)
def test_lists_of_tensors(name: str, arguments: tuple[Any, ...], expected: Any) -> None:
    x = torch.tensor([[0.5, -1.0, 0.0], [4.0, 0.25, -0.1]])
    rows = [row.clone() for row in x]
    result = getattr(private.foreach, name)(rows, *arguments)
    found = torch.stack(rows if name.endswith("_") else list(result))
    assert torch.allclose(found, expected(x), equal_nan=True)


def test_lists_of_tensors_with_lists() -> None:
    x, a, b = torch.rand(3, 2, 4)
    for name, expected in (("addcmul_", x + 0.5 * a * b), ("addcdiv_", x + 0.5 * a / b)):
        rows = [row.clone() for row in x]
        getattr(private.foreach, name)(rows, list(a), list(b), 0.5)
        assert torch.allclose(torch.stack(rows), expected)
    rows = [row.clone() for row in x]
    private.foreach.lerp_(rows, list(a), 0.25)
    assert torch.allclose(torch.stack(rows), x + 0.25 * (a - x))


def test_the_switch_of_transformer_layers_comes_back_when_the_last_is_done() -> None:
    """Two that overlap, as threads do: the one that began first is done first."""
    switch = torch.backends.mha
    assert switch.get_fastpath_enabled()
    first, second = private.layers_unfused(), private.layers_unfused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not switch.get_fastpath_enabled()
    second.__exit__(None, None, None)
    assert switch.get_fastpath_enabled()
