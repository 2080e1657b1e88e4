"""How large a network is and how much it computes: parameters and multiply-accumulates (MACs).

fvcore traces the network and tells the modules apart; `operators.py` says what an operator counts. Three gaps of the
usual counting are closed: attention and recurrent layers are counted, branches that run although nothing reads them
stay in the trace, and an operator without a rule is listed instead of being forgotten.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressvqa.cost.operators import FREE, RULES
from compressvqa.torch_private import HOOK_TABLES, TorchFunctionMode, layers_unfused

CONVENTION = (
    "One MAC is one multiply-accumulate, of every input given (full-reference networks: reference and distorted). "
    "macs: convolutions, linear layers, matrix products, attention and recurrent layers. "
    "macs_conv_linear: convolutions and linear layers only, as papers' tables count. "
    "Pointwise work, pooling, normalisation, softmax and data movement count as nothing. "
    "Branches that run are counted even where nothing reads their output."
)


@dataclass(frozen=True)
class Complexity:
    """Size and work of a network for given inputs.

    Attributes:
        params: number of parameters, shared ones once.
        macs: multiply-accumulates of one call (see `convention`).
        macs_conv_linear: those of convolutions and linear layers alone, the convention of RankDVQA's Table I.
        by_module: {module path: MACs inside its call}, children included; "" is the whole network.
        by_operator: {"conv" | "linear" | "matmul" | "attention" | "recurrent": MACs}.
        unsupported: {operator: calls} without a rule, so that work may be missing; empty is good.
        uncalled: paths of modules that hold parameters and were never called; work done with those parameters all the
            same counts for the module that did it.
        cross_check: MACs that torch's own `FlopCounterMode` finds (half its FLOPs). It does not know products with a
            vector, nor einsum's choice of order; any other difference is worth a look.
        shapes: shapes of the inputs.
        convention: what was counted, in words.
    """

    params: int
    macs: int
    macs_conv_linear: int
    by_module: dict[str, int]
    by_operator: dict[str, int]
    unsupported: dict[str, int]
    uncalled: tuple[str, ...]
    cross_check: int
    shapes: tuple[tuple[int, ...], ...]
    convention: str = field(default=CONVENTION)

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return asdict(self)


def profile(model: nn.Module, inputs: Tensor | Sequence[Tensor]) -> Complexity:
    """Counts parameters and MACs of ``model(*inputs)``, in evaluation mode and without gradients.

    The network is left as it was: its modes, its hooks, and where it lies, also when it raises.

    Args:
        model: any network; it runs twice.
        inputs: what it is called with.

    >>> found = profile(nn.Linear(3, 5), torch.zeros(2, 3))
    >>> found.params, found.macs, found.unsupported
    (20, 30, {})
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    with _undisturbed(model), torch.no_grad():
        model.eval()
        analysis = _trace(model, arguments)
        by_operator = {kind: int(count) for kind, count in sorted(analysis.by_operator(_ROOT).items())}
        by_module = {_path(name): int(count) for name, count in analysis.by_module().items() if name}
        unsupported = {name: int(calls) for name, calls in sorted(analysis.unsupported_ops().items())}
        uncalled = analysis.uncalled_modules()
        cross_check = _flop_counter_macs(model, arguments)
    owners = {_path(name) for name in uncalled if name}
    own_parameters = {path for path, module in model.named_modules() if any(True for _ in module.parameters(False))}
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(by_operator.values()),
        macs_conv_linear=by_operator.get("conv", 0) + by_operator.get("linear", 0),
        by_module=by_module,
        by_operator=by_operator,
        unsupported=unsupported,
        uncalled=tuple(sorted(owners & own_parameters)),
        cross_check=cross_check,
        shapes=tuple(tuple(tensor.shape) for tensor in arguments),
    )


_ROOT = "model"  # name of the network inside the wrapper that is traced


def _path(name: str) -> str:
    return name.removeprefix(_ROOT).removeprefix(".")


class _KeepAlive(nn.Module):
    """Returns what every module put out, because a trace forgets operators whose output nothing returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        kept: dict[int, Tensor] = {}

        def keep(module: nn.Module, arguments: Any, output: Any) -> None:
            del module, arguments
            kept.update((id(tensor), tensor) for tensor in _tensors(output))

        with ExitStack() as hooks:
            for module in self.model.modules():
                hooks.callback(module.register_forward_hook(keep).remove)
            self.model(*inputs)
        return tuple(kept.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore compiles its losses with torch.jit when it is imported, which warns
        from fvcore.nn.jit_analysis import JitModelAnalysis
    analysis = JitModelAnalysis(_KeepAlive(model).eval(), inputs)
    analysis.set_op_handle(**{name if "::" in name else f"aten::{name}": rule for name, rule in RULES.items()})
    # In-place forms carry an underscore at the end.
    analysis.set_op_handle(**{f"aten::{name}{end}": None for name in FREE for end in ("", "_")})
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about Python control flow: every branch taken was traced
        with _PlainSizes():
            analysis.total()  # the work happens here
    return analysis


class _PlainSizes(TorchFunctionMode):
    """Sizes as whole numbers: under the tracer they are tensors, which some forwards round, and tensors can't be."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), settings: dict[str, Any] | None = None
    ) -> Any:
        found = function(*arguments, **(settings or {}))
        if function not in _SIZES:
            return found
        return torch.Size(map(int, found)) if isinstance(found, tuple) else int(found)


_SIZES = (Tensor.size, Tensor.numel, Tensor.shape.__get__)  # type: ignore[attr-defined]  # a descriptor


def _flop_counter_macs(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # late: it brings Triton, 70 MB

    # The counter knows matrix products and convolutions: attention and recurrent layers must run as such.
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # switching oneDNN off warns about Intel GPUs that are not there
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        counter = stack.enter_context(FlopCounterMode(display=False))
        model(*inputs)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts back modes and hooks of every module at the end: fvcore leaves its hooks behind when tracing raises."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    # torch's counter follows gradients from module to module, and raises at a view of a parameter made without.
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hooks = [{name: dict(getattr(module, name)) for name in HOOK_TABLES} for module in modules]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with layers_unfused():  # the fused ones are one operator without a rule
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode, before in zip(modules, modes, hooks, strict=True):
            module.training = mode
            for name, entries in before.items():
                current = getattr(module, name)
                current.clear()
                current.update(entries)
