"""Planes and PyAV's frames, and what PyAV's scaler (ffmpeg's) makes of one: another size, chroma, depth or range."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from compressvqa.video.frames import Chroma, Colour, Planes, plane_shapes, sample_type


def planar_name(chroma: Chroma, depth: int) -> str:
    """ffmpeg's name of a planar format.

    >>> planar_name("420", 8), planar_name("400", 10)
    ('yuv420p', 'gray10le')
    """
    name = "gray" if chroma == "400" else f"yuv{chroma}p"
    return name if depth == 8 else f"{name}{depth}le"


def planes_of(frame: Any, chroma: Chroma, colour: Colour) -> Planes:
    """The samples of a planar frame, copied: a decoder uses its buffer again."""
    planes = []
    for plane, (rows, columns) in zip(frame.planes, plane_shapes(frame.height, frame.width, chroma), strict=False):
        samples = np.frombuffer(plane, sample_type(colour.bitdepth)).reshape(plane.height, -1)
        planes.append(samples[:rows, :columns].copy())
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
    """Brings pictures to one form, bicubic as ffmpeg's `scale` does by default; those that have it are handed back.

    Args:
        size: (height, width) to scale to.
        chroma: chroma subsampling; None keeps that of the picture.
        bitdepth: None keeps that of the picture.
        full_range: None keeps that of the picture.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        chroma: Chroma | None = None,
        bitdepth: int | None = None,
        full_range: bool | None = None,
    ) -> None:
        self.size, self.chroma, self.bitdepth, self.full_range = size, chroma, bitdepth, full_range
        self._scaler = VideoReformatter()

    def __call__(self, planes: Planes) -> Planes:
        """The picture in the wanted form."""
        old = planes.colour
        chroma = self.chroma or planes.chroma
        depth = self.bitdepth or old.bitdepth
        full = old.full_range if self.full_range is None else self.full_range
        if (planes.size, planes.chroma, old.bitdepth, old.full_range) == (self.size, chroma, depth, full):
            return planes
        height, width = self.size
        frame = self._scaler.reformat(
            to_frame(planes), width, height, planar_name(chroma, depth), interpolation=Interpolation.BICUBIC,
            src_color_range=_range(old.full_range), dst_color_range=_range(full),
        )  # fmt: skip
        return planes_of(frame, chroma, Colour(depth, old.matrix, full))


def _range(full: bool) -> Any:
    return ColorRange.JPEG if full else ColorRange.MPEG
