"""Planes and PyAV's frames, and what PyAV's scaler (ffmpeg's) makes of one: another size, chroma, depth or range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from compressvqa.video.frames import Chroma, Colour, Planes, plane_shapes, sample_type
from compressvqa.video.matrices import Matrix
from compressvqa.video.recode import recode


def planar_name(chroma: Chroma, depth: int) -> str:
    """ffmpeg's name of a planar format.

    >>> planar_name("420", 8), planar_name("400", 10)
    ('yuv420p', 'gray10le')
    """
    name = "gray" if chroma == "400" else f"yuv{chroma}p"
    return name if depth == 8 else f"{name}{depth}le"


def planes_of(frame: Any, chroma: Chroma, colour: Colour) -> Planes:
    """The samples of a planar frame where they lie, to be read only: 3 MB a frame of 1080p that are not copied.

    Each array holds on to the frame, and FFmpeg writes a picture to memory that nobody holds.
    """
    planes = []
    for plane, (rows, columns) in zip(frame.planes, plane_shapes(frame.height, frame.width, chroma), strict=False):
        samples = np.frombuffer(plane, sample_type(colour.bitdepth)).reshape(plane.height, -1)[:rows, :columns]
        samples.flags.writeable = False
        planes.append(samples)
    u, v = (None, None) if chroma == "400" else planes[1:3]
    return Planes(planes[0], u, v, chroma, colour)


def to_frame(planes: Planes) -> Any:
    """A PyAV frame of one picture's planes."""
    H, W = planes.size
    frame = av.VideoFrame(W, H, planar_name(planes.chroma, planes.colour.bitdepth))
    for target, source in zip(frame.planes, (planes.y, planes.u, planes.v), strict=False):
        assert source is not None  # a grey format has one plane only
        row = np.zeros((target.height, target.line_size // source.itemsize), source.dtype)
        row[: source.shape[0], : source.shape[1]] = source
        target.update(row.tobytes())
    return frame


class Reformatter:
    """Brings pictures to one form; those that have it are handed back.

    Size and chroma are scaled bicubically as ffmpeg's `scale` does by default. Depth, range and matrix are worked out
    by `recode`, and where both change, the scaling between is done in 16 bits: what comes out is rounded once.

    Args:
        size: (height, width) to scale to; None keeps that of the picture, and so on below.
        chroma: chroma subsampling; a grey picture gets neutral chroma.
        bitdepth: bits a sample.
        full_range: whether luma uses every code.
        matrix: the matrix of Y'CbCr.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        *,
        chroma: Chroma | None = None,
        bitdepth: int | None = None,
        full_range: bool | None = None,
        matrix: Matrix | None = None,
    ) -> None:
        self.size, self.chroma = size, chroma
        self.bitdepth, self.full_range, self.matrix = bitdepth, full_range, matrix
        self._scaler = VideoReformatter()

    def __call__(self, planes: Planes) -> Planes:
        """The picture in the wanted form."""
        old = planes.colour
        wanted = Colour(
            self.bitdepth or old.bitdepth,
            self.matrix or old.matrix,
            old.full_range if self.full_range is None else self.full_range,
        )
        size, chroma = self.size or planes.size, self.chroma or planes.chroma
        if (planes.size, planes.chroma) == (size, chroma):
            return recode(planes, wanted)
        if planes.chroma == "400" or chroma == "400":  # the scaler takes grey for full range, whatever one says
            grey = Planes(planes.y, None, None, "400", planes.colour)
            if size != planes.size:
                grey = self._scaled(_with_neutral(grey, "444"), size, "444")
            grey = recode(Planes(grey.y, None, None, "400", old), wanted)
            return grey if chroma == "400" else _with_neutral(grey, chroma)
        if wanted == old:
            return self._scaled(planes, size, chroma)
        return recode(self._scaled(recode(planes, replace(wanted, bitdepth=16)), size, chroma), wanted)

    def _scaled(self, planes: Planes, size: tuple[int, int], chroma: Chroma) -> Planes:
        colour = planes.colour
        span = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
        frame = self._scaler.reformat(
            to_frame(planes), size[1], size[0], planar_name(chroma, colour.bitdepth),
            interpolation=Interpolation.BICUBIC, src_color_range=span, dst_color_range=span,
        )  # fmt: skip
        return planes_of(frame, chroma, colour)


def _with_neutral(grey: Planes, chroma: Chroma) -> Planes:
    """A grey picture with chroma of no colour."""
    shape = plane_shapes(*grey.size, chroma)[1]
    neutral = np.full(shape, 1 << (grey.colour.bitdepth - 1), grey.y.dtype)
    return Planes(grey.y, neutral, neutral, chroma, grey.colour)
