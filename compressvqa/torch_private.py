"""What torch does not promise to keep: every private interface that is used stands here, with a test of its own.

A new torch that changes one of them fails in tests/test_torch_private.py, and is mended in this file. A switch of
torch's that is the whole process's stands here as well: several threads may want it at a time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from types import FunctionType, SimpleNamespace
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch._decomp import decomposition_table as DECOMPOSITIONS  # noqa: N812
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = [
    "BATCH_NORM",
    "BATCH_OR_INSTANCE_NORM",
    "COMPILED_IN_PLACE",
    "CONVOLUTION",
    "DECOMPOSITIONS",
    "DispatchMode",
    "HOOK_TABLES",
    "TorchFunctionMode",
    "WeakTensorKeyDictionary",
    "compiled_inside",
    "flatten_weights_anew",
    "foreach",
    "has_hooks",
    "is_compiled_in_place",
    "is_graph_of_operators",
    "is_transformed",
    "untransformed",
    "many_compiled_forms",
    "layers_unfused",
    "may_be_tried",
    "operator_name",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "schema_of",
    "seen_through",
    "stored_names",
    "tables",
    "tree_leaves",
    "tree_map_only",
    "uncompiled",
    "weight_hooks",
]

# Classes that all convolutions, all batch and instance norms, and all batch norms of torch share.
CONVOLUTION: Any = nn.modules.conv._ConvNd
BATCH_OR_INSTANCE_NORM: Any = nn.modules.batchnorm._NormBase
BATCH_NORM: Any = nn.modules.batchnorm._BatchNorm

COMPILED_IN_PLACE = "_compiled_call_impl"  # where a module keeps what `module.compile()` made
HOOK_TABLES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


# -- modules ----------------------------------------------------------------------------------------------------------


def tables(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The parameters, buffers and modules that a module itself holds, by name; None where a name holds nothing."""
    return module._parameters, module._buffers, module._modules


def stored_names(module: nn.Module) -> list[str]:
    """The names of a module's own parameters and of those of its buffers that a state_dict holds."""
    return [*module._parameters, *(name for name in module._buffers if name not in module._non_persistent_buffers_set)]


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called before or after a module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def weight_hooks(module: nn.Module) -> list[Any]:
    """The hooks of torch's old weight norm, spectral norm and pruning, which work out a weight before a run."""
    return [h for h in module._forward_pre_hooks.values() if type(h).__module__.startswith("torch.nn.utils.")]


def flatten_weights_anew(module: nn.RNNBase) -> None:
    """Lets a recurrent layer find its weights again after they were exchanged."""
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


# -- modes ------------------------------------------------------------------------------------------------------------


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch's TorchDispatchMode, but its compiler is not imported at the first operator (170 MB, more than a second).

    torch wraps `__torch_dispatch__` so that nothing inside is compiled; nothing inside of ours is.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


# -- operators --------------------------------------------------------------------------------------------------------


def schema_of(operator: Any) -> Any:
    """The signature of an operator: `.name`, `.arguments` (which it may write to), `.returns` (which may be views)."""
    return operator._schema


def operator_name(operator: Any) -> str:
    """The name of an operator without namespace and overload, for example "add_"."""
    name: str = operator._schema.name
    return name.rpartition("::")[2]


def may_be_tried(operator: Any) -> bool:
    """Whether something is an operator that writes to none of its arguments, so that it can be called on others."""
    return isinstance(operator, torch._ops.OpOverload) and not operator._schema.is_mutable


@lru_cache
def seen_through() -> FunctionType:
    """`F.multi_head_attention_forward` without its look-out for modes, so that a mode sees what happens inside."""
    code = F.multi_head_attention_forward
    names = {**code.__globals__, "has_torch_function": lambda tensors: False}
    return FunctionType(code.__code__, names, code.__name__, code.__defaults__)


def is_transformed(tensor: Any) -> bool:
    """Whether a tensor stands for others inside `torch.vmap`, `torch.func.grad` and the like; it has no numbers."""
    return isinstance(tensor, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def untransformed(tensor: Tensor) -> Tensor:
    """The tensor that one inside `torch.vmap`, `torch.func.grad` and the like stands for; any other as it is."""
    while is_transformed(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def is_graph_of_operators(module: nn.Module) -> bool:
    """Whether a module is a graph whose calls are operators, as torch.export writes it, and not Python functions."""
    return isinstance(module, torch.fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes
    )


# -- the compiler -----------------------------------------------------------------------------------------------------


def compiled_inside(module: nn.Module) -> nn.Module | None:
    """The module that `torch.compile` was given, of what it returned; None for any other module."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")  # where nothing was compiled it need not be imported
    if compiler is None or not isinstance(module, compiler.OptimizedModule):
        return None
    return cast("nn.Module", module._orig_mod)


def is_compiled_in_place(module: nn.Module) -> bool:
    """Whether `module.compile()` was called."""
    return getattr(module, COMPILED_IN_PLACE) is not None


def uncompiled() -> AbstractContextManager[Any]:
    """Functions that torch.compile made run as they were written: what is compiled can't be looked into."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return cast("AbstractContextManager[Any]", torch.compiler.set_stance("force_eager"))


def many_compiled_forms() -> AbstractContextManager[Any]:
    """Lets torch.compile keep many forms of one function; by default it keeps few, and then gives up."""
    import torch._dynamo

    patch: Any = torch._dynamo.config.patch(recompile_limit=256, accumulated_recompile_limit=1024)
    return cast("AbstractContextManager[Any]", patch)


# -- one operation on a list of tensors --------------------------------------------------------------------------------


# torch's operations on whole lists of tensors; a trailing underscore changes the first list.
foreach: Any = SimpleNamespace(
    add_=torch._foreach_add_,
    addcdiv_=torch._foreach_addcdiv_,
    addcmul_=torch._foreach_addcmul_,
    clamp_max=torch._foreach_clamp_max,
    clamp_min_=torch._foreach_clamp_min_,
    div_=torch._foreach_div_,
    lerp_=torch._foreach_lerp_,
    mul_=torch._foreach_mul_,
    sign=torch._foreach_sign,
    sign_=torch._foreach_sign_,
    sqrt=torch._foreach_sqrt,
    sub=torch._foreach_sub,
    sub_=torch._foreach_sub_,
)


_unfused = threading.Lock()
_unfusing = [0, True]  # how many want it, and how it was before the first of them


@contextmanager
def layers_unfused() -> Iterator[None]:
    """Transformer layers run the layers that they stand for, not the one operator that torch has for all of them.

    It comes back as it was when the last of several threads is done.
    """
    switch = torch.backends.mha
    with _unfused:
        if _unfusing[0] == 0:
            _unfusing[1] = switch.get_fastpath_enabled()
        _unfusing[0] += 1
        switch.set_fastpath_enabled(False)
    try:
        yield
    finally:
        with _unfused:
            _unfusing[0] -= 1
            if _unfusing[0] == 0:
                switch.set_fastpath_enabled(bool(_unfusing[1]))
