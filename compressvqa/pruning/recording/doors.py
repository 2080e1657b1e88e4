"""What is let in: looks at a network and its inputs before anything runs, and refuses what can't be worked on.

Each refusal is one line that says what is not accepted and what to pass instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.wrappers import bare
from compressvqa.torch_private import is_graph_of_operators, tables, tree_leaves


def enter(model: Any, inputs: Any) -> tuple[nn.Module, Any, tuple[str, ...]]:
    """Looks at a network and at what it is called with.

    Returns:
        The network without wrappers such as `nn.DataParallel`, its inputs, a mapping of any kind as a dict, and the
        wrappers that were left out.

    Raises:
        PruneError: something is not accepted.
    """
    _is_network(model)
    for name, tensor in _tensors(model):
        if nn.parameter.is_lazy(tensor):
            hint = "run the network once on an example, then prune"
            raise PruneError("a lazy layer has no weights yet", where=name, hint=hint)
    model, left = bare(model)
    for path, module in modules_of(model):
        where = path or None
        _is_open(module, where)
        replaced = vars(module).get("forward")
        if replaced is not None and _reaches(replaced, {id(m) for m in (*model.modules(), *model.parameters())}):
            raise PruneError(
                "its forward was replaced by a function that holds the network, so that a copy would run the original",
                where=where,
                hint="a subclass, or types.MethodType(function, module) with a function of (self, ...)",
            )
    for name, tensor in _tensors(model):
        _is_plain(tensor, name, "load the network in one piece, without it")
    _are_inputs(inputs)
    inputs = dict(inputs) if isinstance(inputs, Mapping) else inputs
    for leaf in tree_leaves(inputs):
        if isinstance(leaf, Tensor):
            _is_plain(leaf, "inputs", "a plain tensor")
    return model, inputs, left


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name, a shared one under each of them."""
    for path, module in modules_of(model):
        for table in tables(module)[:2]:
            for name, tensor in table.items():
                if tensor is not None:
                    yield f"{path}.{name}" if path else name, tensor


def has_numbers(model: nn.Module) -> None:
    """A network whose weights are there, not only their sizes.

    Raises:
        PruneError: they are on the meta device.
    """
    for name, leaf in leaves_of(model).items():
        if leaf.device.type == "meta":
            hint = "load its weights first; `trace` alone needs none"
            raise PruneError("the network is on the meta device, where tensors have no numbers", where=name, hint=hint)


def _is_network(model: Any) -> None:
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type):
        hint = f"{model.__name__}()" if issubclass(model, nn.Module) else "an nn.Module"
        raise PruneError(f"{model.__name__} is a class, not a network", hint=hint)
    if isinstance(model, torch.export.ExportedProgram):
        raise _exported(None)
    if isinstance(model, str):
        raise PruneError(f"the network is a text, {model!r}", hint="compressvqa.create_model(name) or load(folder)")
    if isinstance(model, Mapping):
        raise PruneError("these are weights, not a network", hint="model.load_state_dict(weights), then the model")
    what = f"the function {model.__qualname__}" if inspect.isroutine(model) else f"a {type(model).__name__}"
    raise PruneError(f"a network must be an nn.Module, not {what}", hint="a module whose forward calls it")


def _exported(where: str | None) -> PruneError:
    return PruneError(
        "a network made by torch.export can't be cut: every size is written into its graph",
        where=where,
        hint="the module that was exported; export again after pruning",
    )


def _is_open(module: nn.Module, where: str | None) -> None:
    """A module whose operators can be seen, and whose sizes can be changed."""
    kind, home = type(module), type(module).__module__
    if home.startswith("torch.nn.modules."):
        return
    if isinstance(module, torch.jit.ScriptModule):
        hint = "the Python module that it was made of; script or trace again after pruning"
        raise PruneError(f"{kind.__name__} is TorchScript, which can't be looked into or cut", where=where, hint=hint)
    if is_graph_of_operators(module):
        raise _exported(where)
    if _quantises(kind):
        hint = "the float network; prepare it for quantisation after pruning"
        raise PruneError(f"{kind.__name__} is of a network made ready for quantisation", where=where, hint=hint)
    if "fsdp" in home.lower() or "fully_shard" in home:
        hint = "the network before it was sharded"
        raise PruneError(f"{kind.__name__} spreads its parameters over processes", where=where, hint=hint)


def _quantises(kind: type) -> bool:
    """Whether a module quantises or watches for it. Stubs and fused layers that still work in float do not."""
    home = kind.__module__
    if ".quantized." in home or home.startswith("torch.nn.quantized"):
        return kind.__name__ not in ("FloatFunctional", "FXFloatFunctional")
    watchers = ("torch.ao.quantization.fake_quantize", "torch.ao.quantization.observer", "torchao.")
    return ".qat." in home or home.startswith(watchers)


def _reaches(function: Any, members: set[int], *, rebound: bool = True) -> bool:
    """Whether a function holds a module or parameter of a network in a way that a copy of it would hold the same one.

    Args:
        rebound: whether modules that it closes over are exchanged in a copy, see `copied`.
    """
    if isinstance(function, (partial, MethodType)):
        inside = function.func if isinstance(function, partial) else function.__func__
        return _reaches(inside, members, rebound=False)
    if not isinstance(function, FunctionType):
        return False
    held = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    others = [function.__globals__.get(name) for name in function.__code__.co_names]
    others += [item for item in held if not (rebound and isinstance(item, nn.Module))]
    return any(
        id(getattr(item, "__self__", item)) in members or _reaches(item, members, rebound=False) for item in others
    )


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


_PLAIN = (Tensor, nn.Parameter)


def _is_plain(tensor: Tensor, where: str, instead: str) -> None:
    """A tensor with numbers in rows."""
    if type(tensor) in _PLAIN and tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized):
        return
    if tensor.is_nested:
        raise PruneError("a nested tensor has no single size", where=where, hint="pad it: tensor.to_padded_tensor(0.0)")
    if tensor.is_quantized:
        raise PruneError("the tensor is quantised", where=where, hint="the float network; quantise after pruning")
    if tensor.layout != torch.strided:
        raise PruneError(f"the tensor is sparse ({tensor.layout})", where=where, hint="tensor.to_dense()")
    if type(tensor).__module__.startswith("torchao."):
        raise PruneError("the tensor is quantised", where=where, hint="the float network; quantise after pruning")
    if type(tensor).__name__ == "DTensor":
        hint = f"tensor.full_tensor(), or {instead}"
        raise PruneError("the tensor is spread over processes (DTensor)", where=where, hint=hint)


def _are_inputs(inputs: Any) -> None:
    hint = "a tensor, a tuple of tensors by position, or a dict of tensors by name"
    if inputs is None:
        raise PruneError("there are no inputs to run the network on", hint=hint)
    if isinstance(inputs, (str, bytes, bool, int, float, complex, set, frozenset, nn.Module, type)) or callable(inputs):
        raise PruneError(f"the network can't be called with a {type(inputs).__name__}", where="inputs", hint=hint)
    if isinstance(inputs, Iterator):
        raise PruneError(f"a {type(inputs).__name__} is used up by one run", where="inputs", hint=f"tuple(...): {hint}")
    if isinstance(inputs, torch.utils.data.DataLoader):
        raise PruneError("a DataLoader holds batches, not one input", where="inputs", hint="next(iter(loader))")
    if any(isinstance(leaf, (np.ndarray, np.generic)) and np.ndim(leaf) for leaf in tree_leaves(inputs)):
        raise PruneError("the inputs hold numpy arrays", where="inputs", hint="torch.from_numpy(array)")
