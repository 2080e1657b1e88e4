"""How large the numbers inside of an extractor become: what 8-bit and 16-bit kinds of numbers must hold."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from compressvqa.deploy.native.content import REFERENCE, content
from compressvqa.deploy.native.pack import Ranges
from compressvqa.models.rankdvqa import RankDVQA

# Rungs of the built-in pictures whose first frames are looked at.
RUNGS = (REFERENCE, "x264-41", "half-size")


def calibrate(model: RankDVQA, pictures: Iterable[Tensor] | None = None) -> list[tuple[Ranges, Ranges]]:
    """Least and most of each channel after both convolutions of each stage.

    Args:
        model: the network.
        pictures: RGB in [0, 1], (N, 3, H, W) each, references and distorted ones of what will be scored; None:
            built-in ones.
    """
    stages = list(model.extractor.stages)[: len(model.scales)]
    found: list[list[Tensor]] = [[] for _ in range(2 * len(stages))]
    device = next(model.parameters()).device
    with torch.inference_mode():
        for clip in builtin_pictures() if pictures is None else pictures:
            values = model.range_shift(clip.to(device))
            for k, stage in enumerate(stages):
                for j, part in enumerate((stage[:2], stage[2:])):  # type: ignore[index]
                    values = part(values)
                    found[2 * k + j].append(values.cpu())
    ranges = [_ranges(clips) for clips in found]
    return list(zip(ranges[::2], ranges[1::2], strict=True))


def _ranges(clips: list[Tensor]) -> Ranges:
    """Of maps (N, C, h, w), of several sizes maybe."""
    values = torch.cat([clip.transpose(0, 1).flatten(1) for clip in clips], 1)
    unit = torch.nn.functional.normalize(values, dim=0)
    ends = (values.amin(1), values.amax(1), values.double().mean(1), unit.double().mean(1))
    return Ranges(*(one.double().numpy() for one in ends))


def builtin_pictures() -> list[Tensor]:
    """The first frame of each built-in content, at several rungs."""
    return [torch.stack([clip[0].to_rgb() for clip in content(rung)]) for rung in RUNGS]
