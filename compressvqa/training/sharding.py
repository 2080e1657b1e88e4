"""Weights, gradients and optimiser state shared out over processes, for networks that one device can't hold.

PyTorch's FSDP2 does it (`torch.distributed.fsdp.fully_shard`): each process keeps a part of every tensor, and a group
of layers is put together for the moment in which it runs. Checkpoints hold whole tensors, as those of one process do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compressvqa.torch_private import tree_map_only

if TYPE_CHECKING:  # a run imports it when it needs it, see running/precision.py
    from lightning_fabric import Fabric
    from torch.distributed.device_mesh import DeviceMesh

# A group of layers is fetched by one message: many small ones would cost more than they save.
LEAST_PARAMETERS = 2**20


def mesh_of(fabric: Fabric) -> DeviceMesh | None:
    """The processes that weights are shared out over; None where each has them whole."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return fabric.strategy.device_mesh["data_parallel"] if isinstance(fabric.strategy, ModelParallelStrategy) else None


def shard(network: nn.Module, mesh: DeviceMesh, least: int = LEAST_PARAMETERS) -> nn.Module:
    """Shares out a network's parameters, in place: they become `DTensor`s on the device of the mesh.

    Groups that are fetched together are the members of lists and sequences of layers (the blocks of a transformer)
    that hold enough parameters; whatever is left is fetched with the network itself.

    Args:
        network: any network; its layers must be called, since weights that are read from outside are in parts.
        mesh: the processes.
        least: parameters of a group, at least.
    """
    from torch.distributed.fsdp import fully_shard

    for group in _groups(network, least):
        fully_shard(group, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    for name, value in network.named_buffers():  # parameters are taken along
        owner, _, last = name.rpartition(".")
        setattr(network.get_submodule(owner), last, value.to(mesh.device_type))
    return network


def _groups(network: nn.Module, least: int) -> Iterator[nn.Module]:
    """Members of lists of layers, outer ones before inner ones are looked at, none inside of another."""
    for child in network.children():
        listed = list(child) if isinstance(child, (nn.ModuleList, nn.Sequential)) else []
        for part in listed or [child]:
            fits = bool(listed) and not isinstance(part, (nn.ModuleList, nn.ModuleDict))  # those are never called
            if fits and sum(p.numel() for p in part.parameters()) >= least and _owns_its_weights(part, network):
                yield part
            else:
                yield from _groups(part, least)


def _owns_its_weights(part: nn.Module, network: nn.Module) -> bool:
    """Whether no layer outside has a parameter of it: tied weights belong to one group."""
    inside, layers = {id(p) for p in part.parameters()}, set(part.modules())
    others = (layer for layer in network.modules() if layer not in layers)
    return not any(id(p) in inside for layer in others for p in layer.parameters(recurse=False))


def shard_training(fabric: Fabric, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any, Any]:
    """A copy of a network with its weights shared out, and the optimiser with its state shared out like them.

    The network itself is without weights from then on, so that nobody holds them whole; `take_back` returns them.

    Returns:
        (the copy, the copy as Fabric wraps it, the optimiser as Fabric wraps it).
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    # The copy begins with the very storage of the weights: two of them may be too much.
    same: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in names}
    inner = copy.deepcopy(network, same)
    wrapped = fabric.setup_module(inner)
    for parameter in names:
        parameter.data = parameter.new_empty(0)
    parts = dict(inner.named_parameters())
    for group in optimizer.param_groups:
        kept = [parts[names[p]] if p in names else p for p in group["params"]]
        if any(p in names for p in group["params"]) and not all(p in names for p in group["params"]):
            group["foreach"] = False  # torch's loops in one call don't take parts and whole tensors together
        group["params"] = kept
    held = dict(optimizer.state)
    optimizer.state.clear()
    for parameter, state in held.items():
        part = parts[names[parameter]] if parameter in names else parameter
        optimizer.state[part] = {key: _like(part, value) for key, value in state.items()}
    return inner, wrapped, fabric.setup_optimizers(optimizer)


def _like(part: Tensor, value: Any) -> Any:
    """A whole tensor shared out as a parameter is; what has another shape (a count of steps) as it was."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not (isinstance(part, DTensor) and isinstance(value, Tensor) and value.shape == part.shape and value.ndim):
        return value
    # Every process read the same checkpoint, so none has to send.
    return distribute_tensor(value.to(part.device), part.device_mesh, part.placements, src_data_rank=None)


def take_back(network: nn.Module, inner: nn.Module) -> None:
    """Gives a network the weights that its copy learnt, whole, on the processor; all processes call it together."""
    parts, buffers = dict(inner.named_parameters()), dict(inner.named_buffers())
    for name, parameter in network.named_parameters():
        parameter.data = whole(parts[name].detach())
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])


def whole(state: Any, *, kept: bool = True) -> Any:
    """A state with tensors in one piece, on the processor; all processes call it together, with the same state.

    Args:
        state: tensors within dictionaries and lists.
        kept: whether this process wants them; else it only helps the others, and gets None where there were parts.
    """
    if not torch.distributed.is_available():
        return state
    from torch.distributed.tensor import DTensor

    def gathered(part: Any) -> Tensor | None:
        one = part.full_tensor()
        return one.cpu() if kept else None

    return tree_map_only(DTensor, gathered, state)
