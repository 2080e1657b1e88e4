"""What the networks ask of the clips that they are called with, and the luma of a clip."""

from __future__ import annotations

import torch
from torch import Tensor

from compressvqa.errors import DataError

# Shares of red, green and blue in luma, ITU-R BT.601 and BT.709.
LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def check_pair(reference: Tensor, distorted: Tensor, *, smallest_side: int) -> None:
    """Refuses what a full-reference network can't be called with.

    Args:
        reference: should be (B, T, 3, H, W), floating point.
        distorted: should be shaped like `reference`.
        smallest_side: pixels that H and W must have.

    Raises:
        DataError: a wrong shape or type, sides below the smallest, or two shapes that differ.
    """
    for clip in (reference, distorted):
        if clip.ndim != 5 or clip.shape[2] != 3 or 0 in clip.shape[:2]:
            raise DataError(f"a clip of shape {tuple(clip.shape)} is not (batch, frames, 3, height, width)")
        if not clip.is_floating_point():
            raise DataError(f"a clip of {clip.dtype} is not floating point in [0, 1]", hint="divide by 255")
    height, width = reference.shape[3:]
    if min(height, width) < smallest_side:
        raise DataError(f"frames of {width}x{height} are too small: {smallest_side} pixels a side at least")
    if reference.shape != distorted.shape:
        raise DataError(f"reference {tuple(reference.shape)} and distorted {tuple(distorted.shape)} differ in shape")


def luma(clip: Tensor, matrix: str, *, limited: bool) -> Tensor:
    """Luma of an RGB clip, in float32 at least: differences of 1/255 do not survive half precision.

    Args:
        clip: (..., 3, H, W), R'G'B' in [0, 1].
        matrix: a key of `LUMA`.
        limited: codes / 255 as they stand in a limited-range 8-bit video, 16/255 (black) to 235/255 (white), which is
            what a network has read that was trained on the Y plane of such files; else 0 to 1.

    Returns:
        (..., 1, H, W).

    >>> white = torch.ones(3, 1, 1)
    >>> round(255 * float(luma(white, "bt709", limited=True))), round(float(luma(white, "bt601", limited=False)), 6)
    (235, 1.0)
    """
    red, green, blue = torch.split(at_least_single(clip), 1, dim=-3)
    of_red, of_green, of_blue = LUMA[matrix]
    grey: Tensor = of_red * red + of_green * green + of_blue * blue
    return (16 + 219 * grey) / 255 if limited else grey


def at_least_single(values: Tensor) -> Tensor:
    """The same values in float32, or in float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
