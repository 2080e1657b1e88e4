"""Where a network sees the damage: what each place of the frame adds to its score."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from compressvqa.models.rankdvqa import RankDVQA


def has_score_map(network: nn.Module) -> bool:
    """Whether `score_map` knows a score of each place for this network."""
    return isinstance(network, RankDVQA) or callable(getattr(network, "score_map", None))


def score_map(network: nn.Module, *clips: Tensor) -> Tensor:
    """The score of each place: (B, h, w), whose mean over places is the network's score of the block.

    RankDVQA's score is a sum over five scales of means over positions: the maps of the scales are brought to the finest
    one's size and added. Any other network may have a method ``score_map(reference, distorted)``.

    Args:
        network: see `has_score_map`; pruned or not.
        clips: its arguments: one block, (B, T, 3, H, W) each, RGB in [0, 1].
    """
    if not isinstance(network, RankDVQA):
        return cast(Tensor, network.score_map(*clips))  # type: ignore[operator]
    maps: list[Tensor] = []
    heads = [getattr(scale, "head", None) for scale in network.scales]
    hooks = [
        head.register_forward_hook(lambda _module, _inputs, output: maps.append(output.detach().float()))
        for head in heads
        if isinstance(head, nn.Module)
    ]
    try:
        network(*clips)
    finally:
        for hook in hooks:
            hook.remove()
    finest = max((found.shape[-2:] for found in maps), key=lambda size: size[0] * size[1])
    return torch.stack([_enlarged(found, finest) for found in maps]).sum(dim=0)[:, 0]


def _enlarged(found: Tensor, size: torch.Size) -> Tensor:
    """A map in another size with the same mean, which interpolation alone keeps only inside."""
    larger = nn.functional.interpolate(found, size=tuple(size), mode="bilinear", align_corners=False)
    return larger + (found.mean(dim=(2, 3)) - larger.mean(dim=(2, 3)))[..., None, None]
