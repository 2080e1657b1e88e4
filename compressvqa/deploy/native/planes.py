"""How the kernel is told of pictures: addresses of rows, and the whole and real numbers that turn codes into RGB."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video.frames import SUBSAMPLING, Chroma, Colour, Planes, Samples, levels
from compressvqa.video.matrices import chroma_to_rgb

# White in whole numbers is at most this: with chroma added on top, sums of 16 bits do not overflow.
_MOST_WHITE = 14900


class Format(ctypes.Structure):
    """`Format` of rankdvqa.cpp, field by field."""

    _fields_ = [
        ("bytes", ctypes.c_int32), ("rows", ctypes.c_int32), ("columns", ctypes.c_int32), ("grey", ctypes.c_int32),
        ("down", ctypes.c_int32), ("up", ctypes.c_int32), ("black", ctypes.c_int32), ("neutral", ctypes.c_int32),
        ("one", ctypes.c_int32), ("of_u", ctypes.c_int32 * 3), ("of_v", ctypes.c_int32 * 3),
        ("float_black", ctypes.c_float), ("float_luma", ctypes.c_float), ("float_neutral", ctypes.c_float),
        ("float_chroma", ctypes.c_float), ("float_u", ctypes.c_float * 3), ("float_v", ctypes.c_float * 3),
    ]  # fmt: skip


class Picture(ctypes.Structure):
    """`Picture` of rankdvqa.cpp: where each plane begins, bytes from one of its rows to the next, what they mean."""

    _fields_ = [("planes", ctypes.c_void_p * 3), ("strides", ctypes.c_int64 * 3), ("format", Format)]


@functools.cache
def format_of(colour: Colour, chroma: Chroma) -> Format:
    """The numbers of one kind of picture.

    In whole numbers a luma code becomes ``(code >> down << up) - black``, and chroma twice that much, so that what it
    adds is a factor below one in units of 2^-15. The shift up makes white as large as 16 bits allow.
    """
    black, luma_span, neutral, chroma_span = (float(level) for level in levels(colour))
    down = max(0, colour.bitdepth - 14)
    up = 0
    while (luma_span / 2**down) * 2 ** (up + 1) <= _MOST_WHITE:
        up += 1
    unit = 2**up / 2**down
    weights = chroma_to_rgb(colour.matrix)
    whole = np.round(weights * luma_span / (2 * chroma_span) * 2**15).astype(int)
    rows, columns = SUBSAMPLING.get(chroma, (1, 1))
    return Format(
        1 if colour.bitdepth <= 8 else 2, rows, columns, chroma == "400",
        down, up, round(black * unit), round(neutral * 2 * unit), round(luma_span * unit),
        (ctypes.c_int32 * 3)(*whole[:, 0].tolist()), (ctypes.c_int32 * 3)(*whole[:, 1].tolist()),
        black, 1 / luma_span, neutral, 1 / chroma_span,
        (ctypes.c_float * 3)(*weights[:, 0].tolist()), (ctypes.c_float * 3)(*weights[:, 1].tolist()),
    )  # fmt: skip


def pictures_of(frames: Sequence[Planes]) -> tuple[ctypes.Array[Picture], list[Samples]]:
    """Where a block's frames lie, and the arrays that must live as long as that is used.

    Raises:
        DataError: no frame, or frames of several sizes.
    """
    if len({one.size for one in frames}) != 1:
        raise DataError("a block has one frame at least, and frames of one size")
    found, kept = (Picture * len(frames))(), []
    for picture, planes in zip(found, frames, strict=True):
        kind = np.dtype(np.uint8 if planes.colour.bitdepth <= 8 else np.uint16)
        parts = [planes.y] if planes.u is None or planes.v is None else [planes.y, planes.u, planes.v]
        for place, part in enumerate(parts):
            rows = part if part.dtype == kind and part.strides[1] == kind.itemsize else np.ascontiguousarray(part, kind)
            kept.append(rows)
            picture.planes[place] = rows.ctypes.data
            picture.strides[place] = rows.strides[0]
        picture.format = format_of(planes.colour, planes.chroma)
    return found, kept
