"""Parts of DeepQA that its descendants have too: error maps, their pyramid, and the layers of a sensitivity map.

The filter of the pyramid is fixed, (1 4 6 4 1)/16 along each axis with zeros outside the picture, and is written as a
sum of shifted pictures: it is no layer, and papers' tables do not count it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

SMALLEST_SIDE = 36  # a quarter of it is 9 positions: the border of 4 on each side leaves one
BORDER = 4  # positions at the edge of a map that are not judged: zeros from outside the picture reach them
SLOPE = 0.1  # of LeakyReLU below 0
MOST_PIXELS = 2**21  # of the frames that are worked on together: one of 1080p


def log_error(reference: Tensor, distorted: Tensor) -> Tensor:
    """Normalised log error: 1 where two pictures are equal, 0 where they differ by the whole range.

    (log 255^2 - log(d^2 + 1)) / log 255^2 with d = 255 (reference - distorted): DeepQA, equation 3, with epsilon 1.

    >>> log_error(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0])).round(decimals=4).abs().tolist()
    [1.0, 0.0]
    """
    squared = (255 * (reference - distorted)).square()
    return 1 - torch.log1p(squared) / (2 * math.log(255))


def halve(picture: Tensor) -> Tensor:
    """(..., H, W) smoothed, and every second row and column kept: (..., H / 2, W / 2) rounded up."""
    return _halve_rows(_halve_rows(picture).transpose(-1, -2)).transpose(-1, -2)


def _halve_rows(picture: Tensor) -> Tensor:
    width = picture.shape[-1]
    padded = nn.functional.pad(picture, (2, 2))
    a, b, c, d, e = (padded[..., shift : shift + width : 2] for shift in range(5))
    return (a + e + 4 * (b + d) + 6 * c) / 16


def double(picture: Tensor, height: int, width: int) -> Tensor:
    """The way back from `halve`: (..., h, w) to (..., height, width), zeros between the pixels, smoothed, times 4."""
    return _double_rows(_double_rows(picture, width).transpose(-1, -2), height).transpose(-1, -2)


def _double_rows(picture: Tensor, width: int) -> Tensor:
    padded = nn.functional.pad(picture, (1, 1))
    before, here, after = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    even, odd = (before + 6 * here + after) / 8, (here + after) / 2
    return torch.stack([even, odd], dim=-1).flatten(-2)[..., :width]


def high_pass(picture: Tensor) -> Tensor:
    """What two halvings lose of a picture, (..., H, W) to the same shape."""
    half = halve(picture)
    smooth = double(halve(half), half.shape[-2], half.shape[-1])
    return picture - double(smooth, picture.shape[-2], picture.shape[-1])


def branch(width: int) -> nn.Sequential:
    """The first layers on one map: (N, 1, H, W) to (N, width, H / 2, W / 2) rounded up."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE),
    )


def trunk(inputs: int, width: int, last: nn.Module) -> nn.Sequential:
    """From the joined branches to the sensitivity map: (N, inputs, h, w) to (N, 1, h / 2, w / 2) rounded up."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, 1, 3, padding=1),
        last,
    )


def initialise(network: nn.Module, trunk_of: nn.Sequential) -> None:
    """As DeepQA's authors: He's uniform weights, biases 0, and a sensitivity that is 1 to begin with."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = trunk_of[6]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.ones_(last.bias)


def without_border(maps: Tensor) -> Tensor:
    """(..., h, w) to (..., h - 8, w - 8)."""
    return maps[..., BORDER:-BORDER, BORDER:-BORDER]


def few_at_a_time(work: Callable[..., Tensor], *frames: Tensor) -> Tensor:
    """``work(*frames)`` for (N, C, ..., H, W) whose N do not see each other, as many together as memory may take."""
    together = max(1, MOST_PIXELS // math.prod(frames[0].shape[2:]))
    parts = [work(*part) for part in zip(*(torch.split(tensor, together) for tensor in frames), strict=True)]
    return torch.cat(parts) if len(parts) > 1 else parts[0]
