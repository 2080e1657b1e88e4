"""Cuts channels out of a network: slots to remove + network -> smaller copy. It applies, it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.removed import Removed
from compressvqa.pruning.dependency.bindings import Key
from compressvqa.pruning.dependency.labels import Ids
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.steps import changed
from compressvqa.torch_private import BATCH_OR_INSTANCE_NORM, CONVOLUTION, flatten_weights_anew, tables, weight_hooks

Positions = Mapping[tuple[str, int], Ids]


def cut(model: nn.Module, slots: Positions, attributes: Mapping[Key, int], dead: Sequence[str] = ()) -> nn.Module:
    """A copy of a network without some slots, in which the layers' own notes of their widths are right again.

    Args:
        model: the network, which is left as it was. Parameters keep requires_grad, dtype and device; the copy has no
            gradients.
        slots: positions to remove, by (parameter or buffer name, dimension).
        attributes: new values of numbers such as `groups`, by (module path, attribute, the way from there to the
            number); what holds them is copied before.
        dead: paths of modules to replace by `Removed`.

    Raises:
        PruneError: a path does not exist.
    """
    small = _copy_without(model, slots)
    for (path, attribute, steps), value in attributes.items():
        module = small.get_submodule(path)
        if hasattr(module, attribute) and (steps or isinstance(getattr(module, attribute), (int, np.integer))):
            held, original = getattr(module, attribute), getattr(model.get_submodule(path), attribute)
            setattr(module, attribute, changed(held, steps, value, original))
    modes = {module: module.training for _, module in modules_of(small)}
    small.eval()  # in training mode a parametrised weight (spectral norm) changes whenever it is looked at
    with torch.no_grad():
        for module in modes:
            if any(tables(module)) or "weight" in vars(module):
                _work_out(module)
                _mend(module)
            if {"axes_lengths", "_axes_lengths"} <= vars(module).keys():  # einops, which reads the second
                vars(module)["_axes_lengths"] = tuple(vars(module)["axes_lengths"].items())
    for module, mode in modes.items():
        module.training = mode
        if isinstance(module, nn.Transformer):  # it compares its inputs' width with its own note
            inside = (m.embed_dim for _, m in modules_of(module) if isinstance(m, nn.MultiheadAttention))
            module.d_model = next(inside, module.d_model)
    for path in dead:
        parent, _, child = path.rpartition(".")
        setattr(small.get_submodule(parent), child, Removed())
    return small


def _copy_without(model: nn.Module, slots: Positions) -> nn.Module:
    """A copy in which every tensor is already small, so that no large one is copied first."""
    gone: dict[int, dict[int, Ids]] = {}
    leaves = leaves_of(model)
    for (name, d), positions in slots.items():
        if name not in leaves:
            raise PruneError(f"no parameter or buffer is called {name!r}")
        gone.setdefault(id(leaves[name]), {})[d] = positions
    memo: dict[int, Any] = {}
    for _, module in modules_of(model):
        parameters, buffers, _ = tables(module)
        for held in (*parameters.values(), *buffers.values()):
            if held is None or id(held) in memo or (id(held) not in gone and not isinstance(held, nn.Parameter)):
                continue
            smaller = _without(held.detach(), gone.get(id(held), {}))
            is_parameter = isinstance(held, nn.Parameter)
            memo[id(held)] = nn.Parameter(smaller, held.requires_grad) if is_parameter else smaller
    for leaf in leaves.values():  # what is neither a parameter nor a buffer
        if id(leaf) in gone and id(leaf) not in memo:
            memo[id(leaf)] = _without(leaf.detach(), gone[id(leaf)])
    return copied(model, memo)


def _without(tensor: Tensor, gone: Mapping[int, Ids]) -> Tensor:
    """A copy of a tensor without some positions of its dimensions; the same tensor's layout is kept."""
    if not gone:
        return tensor.clone()
    for d, positions in gone.items():
        keep = np.ones(tensor.shape[d], dtype=bool)
        keep[positions] = False
        tensor = tensor.index_select(d, torch.from_numpy(np.flatnonzero(keep)).to(tensor.device))
    return tensor


def _work_out(module: nn.Module) -> None:
    """Lets the hooks of torch's old weight norm, spectral norm and pruning make their weights anew."""
    for hook in weight_hooks(module):
        hook(module, ())


def _mend(module: nn.Module) -> None:
    """Sets a layer's own record of its widths to what its tensors say."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        _mend_recurrent(module)
    elif isinstance(module, nn.MultiheadAttention):
        _mend_attention(module)
    weight = getattr(module, "weight", None)
    if isinstance(module, BATCH_OR_INSTANCE_NORM):
        known = [t for t in (weight, module.running_mean) if isinstance(t, Tensor)]
        if known:
            module.num_features = len(known[0])
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, CONVOLUTION):
        wide, narrow = weight.shape[0], weight.shape[1] * module.groups
        module.out_channels, module.in_channels = (narrow, wide) if module.transposed else (wide, narrow)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = weight.numel()
    elif isinstance(module, nn.Bilinear):
        module.out_features, module.in1_features, module.in2_features = weight.shape
    elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        module.num_embeddings, module.embedding_dim = weight.shape


def _mend_recurrent(module: nn.RNNBase | nn.RNNCellBase) -> None:
    if isinstance(module, nn.RNNCellBase):
        module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]
        return
    tensors: Any = module
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    incoming, hidden = tensors.weight_ih_l0, tensors.weight_hh_l0
    module.input_size, module.hidden_size = incoming.shape[1], hidden.shape[0] // gates
    if module.proj_size:
        module.proj_size = hidden.shape[1]
    flatten_weights_anew(module)


def _mend_attention(module: nn.MultiheadAttention) -> None:
    """The inner width of torch's attention is that of its queries."""
    packed = module.in_proj_weight is not None
    module.embed_dim = (module.in_proj_weight if packed else module.q_proj_weight).shape[1]
    module.kdim = module.embed_dim if packed else module.k_proj_weight.shape[1]
    module.vdim = module.embed_dim if packed else module.v_proj_weight.shape[1]
    module.head_dim = module.embed_dim // module.num_heads
