"""torch-pruning's MagnitudePruner as its documentation uses it, on a network that it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch_pruning
from torch import nn

RATIO = 0.3  # widths of 70 % on both sides of a layer leave 49 % of its work; it has no target in MACs


def prune_in_place(model: nn.Module, inputs: Any, ignored: Sequence[str]) -> None:
    """Prunes a network.

    Args:
        model: the network.
        inputs: its example inputs.
        ignored: paths of the layers whose channels the network returns: its users are told to name them.
    """
    modules = dict(model.named_modules())
    attentions = [m for m in modules.values() if _is_attention(m)]
    for attention in attentions:
        if hasattr(attention, "fused_attn"):
            attention.fused_attn = False
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        inputs,
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=RATIO,
        ignored_layers=[modules[path] for path in ignored if path in modules],
        num_heads={attention.qkv: attention.num_heads for attention in attentions},
        # Its defaults are dictionaries that all pruners of a process share.
        in_channel_groups={},
        out_channel_groups={},
    )
    pruner.step()
    for attention in attentions:  # as in its example for timm
        attention.num_heads = pruner.num_heads[attention.qkv]
        attention.head_dim = attention.qkv.out_features // (3 * attention.num_heads)
        if hasattr(attention, "attn_dim"):
            attention.attn_dim = attention.head_dim * attention.num_heads


def pruned_copy(model: nn.Module, inputs: Any, ignored: Sequence[str]) -> nn.Module:
    """`prune_in_place` of a copy."""
    copied = copy.deepcopy(model)
    prune_in_place(copied, inputs, ignored)
    return copied


def _is_attention(module: nn.Module) -> bool:
    qkv, heads = getattr(module, "qkv", None), getattr(module, "num_heads", None)
    return isinstance(qkv, nn.Linear) and isinstance(heads, int)
