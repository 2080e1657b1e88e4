"""Checkpoints as the networks' authors publish them, brought to our names.

Facts of the layouts come from public repositories:

- ChenFeng-Bristol/RankDVQA_release (its network is the one of hqqxyy/VFIPS): one dictionary of 101 tensors, which begin
  with ``net.moduleExtractor.``, ``net.merge_layers.``, ``lins.`` and ``scaling_layer.``. STANet's begin with
  ``conv3d_block``.
- Tencent/DVQA: C3DVQA's 22 tensors beside an optimiser's state, ``conv1_1.conv1`` to ``fc2``.
- dmaniry/deepIQA and lidq92/WaDIQaM: WaDIQaM's layers are ``conv1`` to ``conv10``, then ``fc1_q``, ``fc2_q`` and
  ``fc1_w``, ``fc2_w``. (deepIQA's own files are Chainer's HDF5, which is not read here.)
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
    return _moved(state, _STANET)


def c3dvqa_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official C3DVQA names (``conv1_1.conv1`` ...) to ours; other names pass unchanged."""
    return _moved(state, _C3DVQA)


def wadiqam_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of WaDIQaM's public implementations (``conv1``, ``fc1_q`` ...) to ours; other names pass unchanged."""
    return _moved(state, _WADIQAM)


_STANET = {
    "conv3d_block1.0": "weigh.0",
    "conv3d_block1.2": "weigh.2",
    "conv3d_block2.0": "weigh.4",
    "conv3d_block2.2": "weigh.6",
}
_C3DVQA = {
    "conv1_1.conv1": "shrink",
    "conv1_2.conv1": "grow",
    "conv2_1.conv1": "error.0",
    "conv2_1.conv2": "error.2",
    "conv2_2.conv1": "picture.0",
    "conv2_2.conv2": "picture.2",
    **{f"conv3.conv{i + 1}": f"sensitivity.{2 * i}" for i in range(4)},
    "fc1": "regress.0",
    "fc2": "regress.2",
}
_WADIQAM = {
    # Five stages of [convolution, ReLU, convolution, ReLU, pooling].
    **{f"conv{i + 1}": f"extractor.{5 * (i // 2) + 2 * (i % 2)}" for i in range(10)},
    "fc1_q": "quality.0",
    "fc2_q": "quality.3",
    "fc1_w": "weight.0",
    "fc2_w": "weight.3",
}


def _moved(state: dict[str, Tensor], layers: dict[str, str]) -> dict[str, Tensor]:
    """Tensors under our names of their layers; those of other layers keep their names."""
    ours = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        ours[f"{layers[layer]}.{leaf}" if layer in layers else name] = tensor
    return ours
