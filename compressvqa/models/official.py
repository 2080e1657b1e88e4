"""Checkpoints as RankDVQA's authors publish them, brought to our names.

Facts of the layout come from the public repository ChenFeng-Bristol/RankDVQA_release (its network is the one of
hqqxyy/VFIPS): one dictionary of 101 tensors, which begin with ``net.moduleExtractor.``, ``net.merge_layers.``,
``lins.`` and ``scaling_layer.``. STANet's begin with ``conv3d_block``.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from compressvqa.errors import WeightsError

_STAGES = {"First": 0, "Second": 1, "Third": 2, "Fourth": 3, "Fifth": 4, "Sixth": 5}
_INSIDE_SCALE = {
    "conv_first": "conv_in",
    "layers.0.residual_group.blocks.0.attn.relative_position_bias_table": "attention.position_bias",
    "layers.0.residual_group.blocks.0.attn.qkv": "attention.qkv",
    "layers.0.residual_group.blocks.0.attn.proj": "attention.proj",
    "layers.0.residual_group.blocks.0.mlp.fc1": "mlp.fc1",
    "layers.0.residual_group.blocks.0.mlp.fc2": "mlp.fc2",
    "conv_after_body": "conv_out",
}
# Computed from the window size, so the file's copy says nothing new.
_IGNORED = re.compile(r"net\.merge_layers\.\d+\.layers\.0\.residual_group\.blocks\.0\.attn\.relative_position_index")
_SCALING = {
    "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188]),
    "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450]),
}


def rankdvqa_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official names to ours; names that are not official pass unchanged, so a faulty file is named by the loader.

    Raises:
        WeightsError: the file was made for another scaling of the input.
    """
    ours = {}
    for name, tensor in state.items():
        if _IGNORED.fullmatch(name):
            continue
        if name in _SCALING:
            if not torch.allclose(tensor.flatten().float(), _SCALING[name], atol=1e-6):
                raise WeightsError(f"{name} is {tensor.flatten().tolist()}, not {_SCALING[name].tolist()}")
            continue
        ours[_rankdvqa_name(name)] = tensor
    return ours


def _rankdvqa_name(name: str) -> str:
    if match := re.fullmatch(r"net\.moduleExtractor\.module(\w+?)\.([02]\.(?:weight|bias))", name):
        stage = _STAGES.get(match[1])
        return name if stage is None else f"extractor.stages.{stage}.{match[2]}"
    if match := re.fullmatch(r"lins\.(\d+)\.model\.1\.weight", name):
        return f"scales.{match[1]}.head.weight"
    if match := re.fullmatch(r"net\.merge_layers\.(\d+)\.(.+?)(\.weight|\.bias)?", name):
        inside = _INSIDE_SCALE.get(match[2])
        return name if inside is None else f"scales.{match[1]}.{inside}{match[3] or ''}"
    return name


def stanet_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official STANet names (``conv3d_block1.0`` ...) to ours; other names pass unchanged."""
    places = {
        "conv3d_block1.0": "weigh.0",
        "conv3d_block1.2": "weigh.2",
        "conv3d_block2.0": "weigh.4",
        "conv3d_block2.2": "weigh.6",
    }
    ours = {}
    for name, tensor in state.items():
        block, _, leaf = name.rpartition(".")
        ours[f"{places[block]}.{leaf}" if block in places else name] = tensor
    return ours
