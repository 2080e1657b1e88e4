"""A decoder's picture as planes: which planar form stands for a pixel format, and what its numbers mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from av.video.reformatter import ColorRange

from compressvqa.errors import DataError
from compressvqa.video import rgb
from compressvqa.video.frames import Chroma, Colour, Planes
from compressvqa.video.info import default_matrix
from compressvqa.video.matrices import BY_NUMBER, UNREAD, Matrix
from compressvqa.video.recode import recode
from compressvqa.video.reformat import planar_name, planes_of

# Depths that a picture is handed on in; 9 and 14 bit are stored in the next larger one.
DEPTHS = (8, 10, 12, 16)
_UNSPECIFIED = 2  # AVColorSpace
# Not pictures of R'G'B' or Y'CbCr: raw sensors, CIE XYZ; and numbers without a largest one.
_UNREAD = ("bayer", "xyz", "grayf", "yaf", "gray32", "uyyvyy411")


def is_rgb(pixel_format: Any) -> bool:
    """Whether a decoder's pixel format holds R, G and B, also by way of a palette."""
    return bool(pixel_format.is_rgb or pixel_format.has_palette)


def has_alpha(pixel_format: Any) -> bool:
    """Whether a pixel format has a plane of transparency."""
    return any(part.is_alpha for part in pixel_format.components)


def check_format(pixel_format: Any, where: object) -> None:
    """Refuses pixel formats that hold no picture of R'G'B' or Y'CbCr.

    Raises:
        DataError: such a format.
    """
    if pixel_format.name.startswith(_UNREAD):
        kind = {"bay": "raw samples of a sensor", "xyz": "CIE XYZ"}.get(pixel_format.name[:3], "no planes of codes")
        raise DataError(f"its pixel format {pixel_format.name} is not read ({kind})", where=where,
                        hint="convert it to RGB or to Y'CbCr first")  # fmt: skip


def layout(pixel_format: Any) -> tuple[Chroma, int]:
    """Chroma and bit depth of the planar format that stands for `pixel_format` without loss.

    RGB is 4:4:4 here, of its own depth; `planes_of_frame` hands it on in 16 bits.
    """
    name, parts = pixel_format.name, pixel_format.components
    bits = max(part.bits for part in parts if not part.is_alpha)
    depth = next((depth for depth in DEPTHS if depth >= bits), 16)
    if name.startswith(("gray", "mono", "ya8", "ya16")):
        return "400", depth
    if is_rgb(pixel_format):
        return "444", depth
    chroma = parts[1]
    halves = (1 if chroma.height == parts[0].height else 2, 1 if chroma.width == parts[0].width else 2)
    # 4:4:0 and 4:1:1 have no counterpart here: they are spread to 4:4:4.
    kinds: dict[tuple[int, int], Chroma] = {(2, 2): "420", (1, 2): "422"}
    if name.startswith(("yuv410", "yuv411", "yuvj411")):
        return "444", depth
    return kinds.get(halves, "444"), depth


def meaning(context: Any, height: int, where: object) -> tuple[Matrix, bool, bool]:
    """Matrix and range that a decoder context or a frame states, and whether it states the matrix.

    A file that does not say is of limited range, and of the matrix that players assume for its height.

    Raises:
        DataError: a matrix that is not read.
    """
    number = int(getattr(context, "colorspace", None) or _UNSPECIFIED)
    chroma = layout(context.format)[0]
    if number in UNREAD and chroma != "400" and not is_rgb(context.format):
        raise DataError(f"its matrix is {UNREAD[number]}, which is not read", where=where,
                        hint="convert it to BT.709 or BT.2020 (non-constant luminance) first")  # fmt: skip
    matrix = BY_NUMBER.get(number)
    full = int(context.color_range) == int(ColorRange.JPEG) or context.format.name.startswith(("yuvj", "mono"))
    return matrix or default_matrix(height), full, matrix is not None


def gamut(context: Any) -> str:
    """What a decoder context says of its primaries, as `VideoInfo.gamut`."""
    number = int(getattr(context, "color_primaries", None) or _UNSPECIFIED)
    return {9: "BT.2020", 11: "P3", 12: "P3", _UNSPECIFIED: ""}.get(number, "BT.709")


def planes_of_frame(frame: Any, where: object) -> Planes:
    """The planes of a decoder's frame, as they are stored; RGB and YCgCo in BT.709, 16 bits.

    Raises:
        DataError: a pixel format or matrix that is not read.
    """
    check_format(frame.format, where)
    if is_rgb(frame.format):
        return rgb.rgb_planes(*rgb.rgb_of_frame(frame, where))
    chroma, depth = layout(frame.format)
    matrix, full, _ = meaning(frame, frame.height, where)
    wanted = planar_name(chroma, depth)
    if frame.format.name.replace("yuvj", "yuv") != wanted:
        # The scaler has only to sort samples: tags that it does not know would make it refuse.
        frame.colorspace, frame.color_range = _UNSPECIFIED, int(ColorRange.UNSPECIFIED)
        frame = frame.reformat(format=wanted)
    planes = planes_of(frame, chroma, Colour(depth, matrix, full))
    if matrix == "ycgco" and planes.u is not None:
        return recode(planes, replace(rgb.COLOUR, full_range=full))
    return planes
