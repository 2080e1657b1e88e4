"""Where a token stands in a clip, as sines and cosines of time, column and row, and the way to another grid.

A grid is (frames, side): side x side patches of each frame, row by row, frame after frame; a class token stands before
them. Layout as in MVD (R. Wang et al., "Masked Video Distillation", CVPR 2023) and InternVideo2; the waves are those of
A. Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.errors import WeightsError

# Grids that published checkpoints come in: 224 and 336 pixels in patches of 14, and 4, 8 or 16 frames.
_PUBLISHED = tuple((frames, side) for side in (16, 24) for frames in (4, 8, 16))


def sin_cos(width: int, frames: int, side: int) -> Tensor:
    """The embedding of every token of a grid.

    Args:
        width: channels, a multiple of 16: a quarter for time, three eighths for the column and as many for the row.
        frames: frames of the grid.
        side: patches along each side of a frame.

    Returns:
        (1, 1 + frames * side * side, width), float32; the class token's is zero.
    """
    time, place = _waves(width // 4, frames), _waves(3 * width // 8, side)
    parts = (time[:, None, None], place[None, None, :], place[None, :, None])
    grid = torch.cat([part.expand(frames, side, side, -1) for part in parts], dim=-1).flatten(0, 2)
    return torch.cat([grid.new_zeros(1, width), grid]).float()[None]


def _waves(width: int, count: int) -> Tensor:
    """(count, width): sines, then cosines, of positions 0, 1, ... at rates from 1 down to nearly 1/10000."""
    half = width // 2
    rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def resized(embedding: Tensor, frames: int, side: int) -> Tensor:
    """A learnt embedding for another grid: linear in time, bicubic in space; the class token's stays.

    Args:
        embedding: (1, 1 + tokens, width). Its grid is not written anywhere: it is taken for the wanted one if the
            number of tokens fits, else for a published one (4, 8 or 16 frames of 224 or 336 pixels), else for one with
            the wanted side or the wanted number of frames, if only one of these has as many tokens.
        frames: frames wanted.
        side: patches along each side wanted.

    Returns:
        (1, 1 + frames * side * side, width).

    Raises:
        WeightsError: no such grid has so many tokens, or two have.
    """
    tokens, width = embedding.shape[1] - 1, embedding.shape[2]
    if tokens == frames * side * side:
        return embedding
    before, old = _grid(tokens, frames, side)
    cells = embedding[0, 1:].float().reshape(before, old * old, width)
    cells = functional.interpolate(cells.permute(1, 2, 0), size=frames, mode="linear", align_corners=False)
    planes = cells.permute(2, 1, 0).reshape(frames, width, old, old)
    planes = functional.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False)
    grid = planes.flatten(2).transpose(1, 2).reshape(1, -1, width)
    return torch.cat([embedding[:, :1], grid.to(embedding.dtype)], dim=1)


def _grid(tokens: int, frames: int, side: int) -> tuple[int, int]:
    for published in _PUBLISHED:
        if tokens == published[0] * published[1] ** 2:
            return published
    old = round((tokens / frames) ** 0.5)
    possible = {(frames, old), (tokens // side**2, side)}
    fitting = [grid for grid in possible if tokens == grid[0] * grid[1] ** 2 and tokens]
    if len(fitting) == 1:
        return fitting[0]
    raise WeightsError(
        f"the grid of a position embedding of {tokens} tokens is not known",
        hint="build the network with the frames and the size that the weights were trained with",
    )
