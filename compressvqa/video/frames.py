"""A decoded frame as planes of luma and chroma, and its conversion to RGB.

Numbers follow ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance): a limited-range luma sample lies in
16..235 and chroma in 16..240 at 8 bit, scaled by ``2 ** (bitdepth - 8)``; a full-range one uses every code.
Transfer curves are left alone: RGB here is the gamma-coded R'G'B' that networks are trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.video.matrices import Matrix, chroma_to_rgb

Chroma: TypeAlias = Literal["400", "420", "422", "444"]
Samples: TypeAlias = npt.NDArray[Any]  # uint8 up to 8 bit, uint16 above

# How many luma samples one chroma sample serves: (vertically, horizontally).
SUBSAMPLING: dict[Chroma, tuple[int, int]] = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}


@dataclass(frozen=True)
class Colour:
    """How the numbers of a planar picture are meant: bit depth, matrix and range."""

    bitdepth: int = 8
    matrix: Matrix = "bt709"
    full_range: bool = False


@dataclass(frozen=True)
class Planes:
    """One frame, or a stack of frames, as planes.

    Args:
        y: luma, (..., H, W), uint8 for 8 bit and uint16 above.
        u: blue difference, (..., ceil(H / sv), ceil(W / sh)), or None for a grey picture.
        v: red difference, shaped like `u`.
        chroma: subsampling that `u` and `v` follow.
        colour: bit depth, matrix and range of the samples.
    """

    y: Samples
    u: Samples | None
    v: Samples | None
    chroma: Chroma
    colour: Colour

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the luma plane."""
        return self.y.shape[-2], self.y.shape[-1]

    def crop(self, top: int, left: int, height: int, width: int) -> Planes:
        """A view of a rectangle; `top` and `left` must lie on a chroma sample.

        Raises:
            DataError: the rectangle leaves the picture or does not begin on a chroma sample.
        """
        H, W = self.size
        if top < 0 or left < 0 or height < 1 or width < 1 or top + height > H or left + width > W:
            raise DataError(f"a box of {width}x{height} at ({left}, {top}) leaves a picture of {W}x{H}")
        y = self.y[..., top : top + height, left : left + width]
        if self.u is None or self.v is None:
            return Planes(y, None, None, self.chroma, self.colour)
        sv, sh = SUBSAMPLING[self.chroma]
        if top % sv or left % sh:
            kind = ":".join(self.chroma)
            raise DataError(f"a box at ({left}, {top}) does not begin on a chroma sample of {kind} video")
        rows = slice(top // sv, -(-(top + height) // sv))
        columns = slice(left // sh, -(-(left + width) // sh))
        return Planes(y, self.u[..., rows, columns], self.v[..., rows, columns], self.chroma, self.colour)

    def shows_the_same(self, other: Planes) -> bool:
        """Whether another frame has these samples, to the last one, and means the same by them."""
        pairs = ((self.y, other.y), (self.u, other.u), (self.v, other.v))
        return (self.chroma, self.colour) == (other.chroma, other.colour) and all(
            a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
        )

    def to_rgb(self, out: Tensor | None = None) -> Tensor:
        """RGB of the planes, (..., 3, H, W), written to `out` if that is given; see `yuv_to_rgb`."""
        return yuv_to_rgb(self, out)

    def to_bytes(self) -> bytes:
        """The samples in the order of a headerless .yuv file, frame by frame (a grey picture has luma only)."""
        planes = [self.y] if self.u is None or self.v is None else [self.y, self.u, self.v]
        frames = [plane.reshape(-1, plane.shape[-2] * plane.shape[-1]) for plane in planes]
        return np.concatenate(frames, axis=1).astype(frames[0].dtype.newbyteorder("<"), copy=False).tobytes()


def plane_shapes(height: int, width: int, chroma: Chroma) -> list[tuple[int, int]]:
    """Shapes of the planes of one frame, in file order. Odd sizes round the chroma up.

    >>> plane_shapes(5, 8, "420")
    [(5, 8), (3, 4), (3, 4)]
    """
    if chroma == "400":
        return [(height, width)]
    sv, sh = SUBSAMPLING[chroma]
    small = (-(-height // sv), -(-width // sh))
    return [(height, width), small, small]


def sample_type(bitdepth: int) -> np.dtype[Any]:
    """The stored type of a sample: one byte up to 8 bit, two bytes (low byte first) above."""
    return np.dtype(np.uint8) if bitdepth <= 8 else np.dtype("<u2")


def levels(colour: Colour) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Code of black and codes from black to white; code of neutral chroma and codes that chroma spans.

    >>> [float(level) for level in levels(Colour(10))]
    [64.0, 876.0, 512.0, 896.0]
    """
    scale = np.float32(2.0 ** (colour.bitdepth - 8))
    whole = 256 * scale - 1
    if colour.full_range:
        return np.float32(0), whole, 128 * scale, whole
    reach = 219 if colour.matrix == "ycgco" else 224  # made of integer R, G and B (H.273, equations 41 to 43)
    return 16 * scale, 219 * scale, 128 * scale, reach * scale


def split_planes(samples: Samples, height: int, width: int, chroma: Chroma, colour: Colour) -> Planes:
    """Planes, as views, of frames stored flat: (..., samples of one frame) in the order of a .yuv file."""
    lead, offset, planes = samples.shape[:-1], 0, []
    for rows, columns in plane_shapes(height, width, chroma):
        planes.append(samples[..., offset : offset + rows * columns].reshape(*lead, rows, columns))
        offset += rows * columns
    if chroma == "400":
        return Planes(planes[0], None, None, chroma, colour)
    return Planes(planes[0], planes[1], planes[2], chroma, colour)


def yuv_to_rgb(planes: Planes, out: Tensor | None = None) -> Tensor:
    """R'G'B' of planar Y'CbCr.

    Each chroma sample serves its whole block of luma samples (no interpolation), so that cropping and converting can
    be done in either order with the same result: a training crop is exactly a part of the picture that is scored.
    The arithmetic is numpy's: it runs in a loader's thread beside a training step without taking that step's threads.

    Args:
        planes: codes, luma (..., H, W).
        out: a contiguous float32 tensor (..., 3, H, W) to write to.

    Returns:
        (..., 3, H, W), float32 in [0, 1]; codes outside the nominal range are clamped.

    >>> white = Planes(np.full((2, 2), 235, np.uint8), None, None, "400", Colour())
    >>> yuv_to_rgb(white).unique().tolist()
    [1.0]
    """
    colour, (H, W) = planes.colour, planes.size
    black, luma_span, neutral, chroma_span = levels(colour)
    result = torch.empty((*planes.y.shape[:-2], 3, H, W)) if out is None else out
    rgb = result.numpy()
    luma = planes.y.astype(np.float32)
    luma -= black
    luma /= luma_span
    if planes.u is None or planes.v is None:
        rgb[...] = luma[..., None, :, :]
    else:
        blue, red = ((plane.astype(np.float32) - neutral) / chroma_span for plane in (planes.u, planes.v))
        # The three chroma offsets are made at chroma size and only then spread over the luma grid.
        weights = chroma_to_rgb(colour.matrix).astype(np.float32)
        offsets = [blue * of_blue + red * of_red for of_blue, of_red in weights]
        for channel, offset in enumerate(offsets):
            add_spread(luma, offset, SUBSAMPLING[planes.chroma], rgb[..., channel, :, :])
    np.clip(rgb, 0, 1, out=rgb)
    return result


def add_spread(luma: Samples, offset: Samples, block: tuple[int, int], out: Samples) -> None:
    """``out = luma + offset``, where each sample of `offset` serves a block of (rows, columns) of luma samples."""
    sv, sh = block
    H, W = luma.shape[-2:]
    wide = np.empty((*offset.shape[:-1], W), np.float32)
    for column in range(sh):
        wide[..., column::sh] = offset[..., : -(-(W - column) // sh)]
    for row in range(sv):
        np.add(luma[..., row::sv, :], wide[..., : -(-(H - row) // sv), :], out=out[..., row::sv, :])
