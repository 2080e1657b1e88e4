"""How large the numbers inside of an extractor become: what 8-bit and 16-bit kinds of numbers must hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from compressvqa.deploy.native.pack import Ranges
from compressvqa.models.rankdvqa import RankDVQA

SIDE = 192


def calibrate(model: RankDVQA, pictures: Iterable[Tensor] | None = None) -> list[tuple[Ranges, Ranges]]:
    """Least and most of each channel after both convolutions of each stage.

    Args:
        model: the network.
        pictures: RGB in [0, 1], (N, 3, H, W) each, references and distorted ones of what will be scored; None:
            built-in ones.
    """
    stages = list(model.extractor.stages)[: len(model.scales)]
    found: list[list[Ranges]] = [[] for _ in range(2 * len(stages))]
    device = next(model.parameters()).device
    with torch.inference_mode():
        for clip in builtin_pictures() if pictures is None else pictures:
            values = model.range_shift(clip.to(device))
            for k, stage in enumerate(stages):
                for j, part in enumerate((stage[:2], stage[2:])):
                    values = part(values)
                    found[2 * k + j].append(_ranges(values))
    joined = [
        Ranges(
            np.min([one.least for one in clips], axis=0),
            np.max([one.most for one in clips], axis=0),
            np.mean([one.mean for one in clips], axis=0),
            np.mean([one.unit_mean for one in clips], axis=0),
        )
        for clips in found
    ]
    return list(zip(joined[::2], joined[1::2], strict=True))


def _ranges(values: Tensor) -> Ranges:
    over = (0, 2, 3)
    unit = torch.nn.functional.normalize(values, dim=1)
    ends = (values.amin(over), values.amax(over), values.mean(over), unit.mean(over))
    return Ranges(*(one.double().cpu().numpy() for one in ends))


def builtin_pictures(seed: int = 0) -> list[Tensor]:
    """Pictures like those that are filmed, and harder ones: 1/f noise of several contrasts and tints, edges, flats."""
    dice = torch.Generator().manual_seed(seed)
    clips = []
    for contrast in (0.1, 0.3, 0.6):
        base = _one_over_f(6, 1, dice) + 0.3 * _one_over_f(6, 3, dice)
        tint = torch.rand((6, 3, 1, 1), generator=dice)
        clips.append((tint * 0.6 + 0.2 + contrast * base).clamp(0, 1))
    cells = torch.rand((4, 3, SIDE // 16, SIDE // 16), generator=dice)
    patches = cells.repeat_interleave(16, 2).repeat_interleave(16, 3)
    lines = (torch.arange(SIDE) // torch.tensor([[1], [2], [3], [5]]) % 2).float()
    stripes = torch.stack([lines, lines.flip(0)])[:, :, None, None, :].expand(2, 4, 3, SIDE, SIDE)
    flat = torch.tensor([0.0, 1.0, 0.5]).view(3, 1, 1, 1).expand(3, 3, SIDE, SIDE)
    return [*clips, patches, stripes[0], stripes[1].transpose(2, 3), flat]


def _one_over_f(number: int, channels: int, dice: torch.Generator) -> Tensor:
    """Noise as natural pictures have it: amplitude falls with spatial frequency; standard deviation 1."""
    noise = torch.fft.rfft2(torch.randn((number, channels, SIDE, SIDE), generator=dice))
    y, x = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]
    shaped = torch.fft.irfft2(noise / (y.square() + x.square()).sqrt().clamp_min(1 / SIDE), s=(SIDE, SIDE))
    return (shaped - shaped.mean(dim=(2, 3), keepdim=True)) / shaped.std(dim=(1, 2, 3), keepdim=True)
