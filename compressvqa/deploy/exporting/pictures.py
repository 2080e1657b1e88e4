"""Clips that an export is held against PyTorch on: textures of several sizes, untouched, noisy, blurred."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Clips = dict[str, Tensor]  # {name of the input: (B, T, 3, H, W)}


def checks(names: Sequence[str], sizes: Sequence[tuple[int, int, int]], frames: int) -> list[Clips]:
    """Pairs of clips for each size, from identical ones to ones that are hardly known again.

    Args:
        names: inputs of the graph.
        sizes: (batch, height, width) of the clips; the first one also comes hardly damaged, and as its own reference.
        frames: of a clip.
    """
    found = [_pair(*size, frames, 0.3) for size in sizes]
    found += [_pair(*sizes[0], frames, level) for level in (0.02, 0.1, 0.0)]
    return [{name: pair[name] for name in names} for pair in found]


def example(names: Sequence[str], batch: int, height: int, width: int, frames: int) -> tuple[Tensor, ...]:
    """Clips to trace a graph with."""
    pair = _pair(batch, height, width, frames, 0.1)
    return tuple(pair[name] for name in names)


def _pair(batch: int, height: int, width: int, frames: int, damage: float) -> Clips:
    """A drawn texture that moves, and the same with noise and, in every second clip, blurred."""
    dice = torch.Generator().manual_seed(batch + height + width + round(100 * damage))
    rough = torch.rand(batch, 3, height // 4 + 8, width // 4 + 8, generator=dice)
    large = nn.functional.interpolate(rough, (height + 32, width + 32), mode="bilinear")
    moved = [large[..., number % 32 : number % 32 + height, : width] for number in range(frames)]  # fmt: skip
    clip = torch.stack(moved, 1)
    distorted = clip + damage * torch.randn(clip.shape, generator=dice)
    if damage > 0.1:
        distorted[::2] = _blurred(distorted[::2])
    return {"reference": clip, "distorted": distorted.clamp(0, 1).contiguous()}


def _blurred(clips: Tensor) -> Tensor:
    flat = nn.functional.avg_pool2d(clips.flatten(0, 1), 5, 1, 2, count_include_pad=False)
    return flat.reshape(clips.shape)
