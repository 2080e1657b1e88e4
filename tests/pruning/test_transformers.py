"""Models of `transformers`, small and untrained, as backbones of a scorer: half of their work goes, by target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.reference import gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.pruning import prune

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = {"input_ids": torch.arange(14).view(2, 7) % 64}
PICTURE = {"pixel_values": torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
CLIP_ = {"pixel_values": torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))}


def llama(implementation: str = "eager") -> nn.Module:
    config = transformers.LlamaConfig(**SMALL, vocab_size=64, num_key_value_heads=2)
    config._attn_implementation = implementation
    return transformers.LlamaModel(config)


def qwen() -> nn.Module:
    return transformers.Qwen2Model(transformers.Qwen2Config(**SMALL, vocab_size=64, num_key_value_heads=2))


def swin() -> nn.Module:
    return transformers.Swinv2Model(
        transformers.Swinv2Config(
            image_size=32, patch_size=2, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4
        ),
        add_pooling_layer=False,
    )


def video() -> nn.Module:
    config = transformers.VideoMAEConfig(**SMALL, image_size=32, patch_size=8, num_frames=4)
    return transformers.VideoMAEModel(config)


def clip() -> nn.Module:
    words = {**SMALL, "vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 63}
    pictures = {**SMALL, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=words, vision_config=pictures, projection_dim=32)
    return transformers.CLIPModel(config)


class Scorer(nn.Module):
    """A score from what a backbone makes of its inputs."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, 1)

    def forward(self, **inputs: Tensor) -> Tensor:
        found = self.backbone(**inputs)
        if hasattr(found, "image_embeds"):
            return self.head(torch.cat([found.image_embeds, found.text_embeds], 1))
        return self.head(found.last_hidden_state.mean(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], int, dict[str, Tensor]]] = {
    "llama": (llama, 48, WORDS),
    "llama, fused": (lambda: llama("sdpa"), 48, WORDS),
    "qwen2": (qwen, 48, WORDS),
    "swin v2": (swin, 48, PICTURE),
    "videomae": (video, 48, CLIP_),
    "clip": (clip, 64, WORDS | PICTURE),
}


def over_the_kept(net: nn.Module) -> None:
    """Norms of the reference take their statistics over the channels whose weight is not zero."""
    for norm in net.modules():
        kind = type(norm).__name__
        if kind == "LayerNorm" or kind.endswith("RMSNorm"):
            norm.forward = _normed(norm, rms=kind != "LayerNorm")  # type: ignore[assignment]


def _normed(norm: Any, *, rms: bool) -> Callable[[Tensor], Tensor]:
    keep = norm.weight.detach() != 0

    def forward(x: Tensor) -> Tensor:
        part, size = x[..., keep], [int(keep.sum())]
        if rms:
            y = F.rms_norm(part, size, norm.weight[keep], norm.variance_epsilon)
        else:
            y = F.layer_norm(part, size, norm.weight[keep], norm.bias[keep], norm.eps)
        return torch.zeros_like(x).masked_scatter(keep.expand_as(x), y)

    return forward


@pytest.mark.parametrize(
    ("name", "attention"), [*((name, "heads") for name in MODELS), ("llama", "auto"), ("clip", "auto")]
)
def test_half_of_the_work_goes(name: str, attention: str) -> None:
    make, width, inputs = MODELS[name]
    torch.manual_seed(0)
    net = Scorer(make(), width).eval()
    for parameter in net.parameters():  # what starts at one or zero would hide which channel is which
        parameter.data += 0.02 * torch.randn(parameter.shape)
    pruned = prune(net, inputs, target_macs=0.5, attention=attention)
    before, after = pruned.plan.macs
    assert 0.49 <= after / before <= 0.5
    reference, small = zeroed(net, gone_slots(pruned)).float(), pruned.model
    over_the_kept(reference)
    with torch.no_grad():
        expected, found = reference(**inputs), small(**inputs)
    assert float((expected - found).abs().max() / expected.abs().max()) < 1e-4
