"""The same picture in other numbers: another bit depth, range or matrix, at the size and chroma that it has."""

from __future__ import annotations

import numpy as np

from compressvqa.video.frames import SUBSAMPLING, Colour, Planes, Samples, add_spread, levels, sample_type
from compressvqa.video.matrices import between


def recode(planes: Planes, wanted: Colour) -> Planes:
    """A picture whose numbers mean the same colours by `wanted`, rounded to the nearest code.

    Depth and range are scaled from the nominal levels of one to those of the other. Of the matrix only luma needs the
    chroma of each pixel: each chroma sample serves its whole block there, as in `yuv_to_rgb`; chroma stays as coarse as
    it is. Nothing is clamped to RGB.

    >>> grey = Planes(np.full((2, 2), 235, np.uint8), None, None, "400", Colour())
    >>> [int(recode(grey, colour).y.max()) for colour in (Colour(10), Colour(8, full_range=True))]
    [940, 255]
    """
    held = planes.colour
    if held == wanted:
        return planes
    if (held.matrix == wanted.matrix or planes.u is None) and not held.full_range and not wanted.full_range:
        return _deeper_or_shallower(planes, wanted)
    black, span, neutral, reach = levels(held)
    luma = (planes.y.astype(np.float32) - black) / span
    blue, red = planes.u, planes.v
    if blue is not None and red is not None:
        blue, red = ((plane.astype(np.float32) - neutral) / reach for plane in (blue, red))
        if held.matrix != wanted.matrix:
            weights = between(held.matrix, wanted.matrix).astype(np.float32)
            offset, new_blue, new_red = (of_blue * blue + of_red * red for of_blue, of_red in weights)
            add_spread(luma, offset, SUBSAMPLING[planes.chroma], luma)
            blue, red = new_blue, new_red
    black, span, neutral, reach = levels(wanted)
    y = _codes(luma * span + black, wanted)
    if blue is None or red is None:
        return Planes(y, None, None, planes.chroma, wanted)
    return Planes(
        y, _codes(blue * reach + neutral, wanted), _codes(red * reach + neutral, wanted), planes.chroma, wanted
    )


def _deeper_or_shallower(planes: Planes, wanted: Colour) -> Planes:
    """Limited range has the same levels at every depth, times a power of two."""
    steps = wanted.bitdepth - planes.colour.bitdepth
    kind = sample_type(wanted.bitdepth)

    def shifted(plane: Samples) -> Samples:
        if steps >= 0:
            return plane.astype(kind) << np.uint8(steps)
        return _codes(plane.astype(np.float32) * np.float32(2.0**steps), wanted)

    u, v = (None if plane is None else shifted(plane) for plane in (planes.u, planes.v))
    return Planes(shifted(planes.y), u, v, planes.chroma, wanted)


def _codes(values: Samples, colour: Colour) -> Samples:
    np.rint(values, out=values)
    np.clip(values, 0, 2**colour.bitdepth - 1, out=values)
    return values.astype(sample_type(colour.bitdepth))
