"""Cuts channels out of a network: slots to remove + network -> smaller network. It applies, it decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch_pruning
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning.removed import Removed

Slots = Mapping[tuple[str, int], Sequence[int]]

# Layers that torch-pruning cuts as we mean it: (function, dimension of the weight).
_LAYERS: dict[type[nn.Module], tuple[tuple[Callable[[nn.Module, list[int]], object], int], ...]] = {
    nn.Linear: ((torch_pruning.prune_linear_out_channels, 0), (torch_pruning.prune_linear_in_channels, 1)),
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        ((torch_pruning.prune_conv_out_channels, 0), (torch_pruning.prune_conv_in_channels, 1)),
    ),
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), ((torch_pruning.prune_batchnorm_out_channels, 0),)
    ),
}


def cut(
    model: nn.Module, slots: Slots, attributes: Mapping[tuple[str, str, int | None], int], dead: Sequence[str] = ()
) -> None:
    """Removes slots from parameters and buffers in place and mends the layers' own notes of their widths.

    Args:
        model: the network; work on a copy. Parameters keep requires_grad, dtype and device, and lose their gradients.
        slots: positions to remove, by (parameter or buffer name, dimension).
        attributes: new values of integer attributes such as `groups`, by (module path, attribute, entry of a list).
        dead: paths of modules to replace by `Removed`.

    Raises:
        PruneError: a path does not exist.
    """
    for parameter in model.parameters():
        parameter.grad = None
    rest = _by_layer(model, slots)
    for (name, d), gone in rest.items():
        _cut_leaf(model, name, d, gone)
    for (path, attribute, entry), value in attributes.items():
        module = model.get_submodule(path)
        held = getattr(module, attribute, None)
        if entry is not None and isinstance(held, (tuple, list)):
            setattr(module, attribute, type(held)([*held[:entry], value, *held[entry + 1 :]]))
        elif isinstance(held, int):
            setattr(module, attribute, value)
    for module in model.modules():
        _mend(module)
    for path in dead:
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, Removed())


def _by_layer(model: nn.Module, slots: Slots) -> dict[tuple[str, int], list[int]]:
    """Cuts what torch-pruning's layer functions cut alike; returns the slots that are left."""
    rest = {key: sorted(gone) for key, gone in slots.items() if gone}
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for path, module in model.named_modules():
        functions = _LAYERS.get(type(module), ())
        tensors = dict(module.named_parameters(recurse=False))
        plain = getattr(module, "groups", 1) == 1 and all(uses[id(p)] == 1 for p in tensors.values())
        statistics = not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.running_mean is not None
        if not (plain and statistics and "weight" in tensors):
            continue
        for function, d in functions:
            prefix = f"{path}." if path else ""
            names = [f"{prefix}weight"]
            if d == 0:
                names += [f"{prefix}{n}" for n in ("bias", "running_mean", "running_var") if _has(module, n)]
            gone = rest.get((names[0], d))
            # The function cuts all of them at once, so all of them must be meant.
            if gone and all(rest.get((n, d if n == names[0] else 0)) == gone for n in names):
                needs = {n: p.requires_grad for n, p in tensors.items()}
                function(module, list(gone))
                for n, p in module.named_parameters(recurse=False):
                    p.requires_grad_(needs[n])
                for n in names:
                    del rest[n, d if n == names[0] else 0]
    return rest


def _has(module: nn.Module, name: str) -> bool:
    return isinstance(getattr(module, name, None), Tensor)


def _cut_leaf(model: nn.Module, name: str, d: int, gone: Sequence[int]) -> None:
    """Cuts one parameter or buffer, under every name that it has."""
    path, _, last = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), last)
    if not isinstance(tensor, Tensor):
        raise PruneError(f"no parameter or buffer is called {name!r}")
    lost = set(gone)
    keep = torch.tensor([i for i in range(tensor.shape[d]) if i not in lost], device=tensor.device)
    smaller = tensor.detach().index_select(d, keep)
    if isinstance(tensor, nn.Parameter):
        smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for key, held in table.items():
                if held is tensor:
                    table[key] = smaller  # type: ignore[assignment]


def _mend(module: nn.Module) -> None:
    """Sets a layer's own record of its widths to what its tensors say."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        _mend_recurrent(module)
    elif isinstance(module, nn.MultiheadAttention):
        _mend_attention(module)
    weight = getattr(module, "weight", None)
    if isinstance(module, (nn.modules.batchnorm._NormBase,)):
        known = [t for t in (weight, module.running_mean) if isinstance(t, Tensor)]
        if known:
            module.num_features = len(known[0])
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, nn.modules.conv._ConvNd):
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
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    module.input_size = module.weight_ih_l0.shape[1]
    module.hidden_size = module.weight_hh_l0.shape[0] // gates
    if module.proj_size:
        module.proj_size = module.weight_hh_l0.shape[1]
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _mend_attention(module: nn.MultiheadAttention) -> None:
    """The inner width of torch's attention is its outer one."""
    module.embed_dim = module.out_proj.weight.shape[0]
    packed = module.in_proj_weight is not None
    module.kdim = module.embed_dim if packed else module.k_proj_weight.shape[1]
    module.vdim = module.embed_dim if packed else module.v_proj_weight.shape[1]
    module.head_dim = module.embed_dim // module.num_heads
