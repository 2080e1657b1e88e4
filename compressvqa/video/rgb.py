"""RGB pictures as planes: 4:4:4 of 16 bits, which hold every code of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes, Samples
from compressvqa.video.matrices import encoding

# RGB has no matrix of its own: it is handed on in this one, and brought to that of what it is compared with. Limited
# range, so that metrics of video see what they know; 8 bits of RGB keep to within a hundredth of a step.
COLOUR = Colour(16, "bt709", False)
_WIDE = ("rgb48", "bgr48", "rgba64", "bgra64")
_TEN_BITS = {"x2rgb10le": (20, 10, 0), "x2bgr10le": (0, 10, 20)}


def rgb_planes(channels: Sequence[Samples], white: float) -> Planes:
    """Planes of R'G'B'.

    Args:
        channels: red, green and blue, (H, W) each; black is 0.
        white: what is white.
    """
    # Each plane of codes is a weighted sum of the three and a constant: nothing else is worked out for each sample.
    spans = np.array([[219.0], [224.0], [224.0]]) * 256 / white
    weights = (encoding(COLOUR.matrix) * spans).astype(np.float32)
    wide = [np.asarray(channel, np.float32) for channel in channels]
    part = np.empty_like(wide[0])
    codes = []
    for row, zero in zip(weights, (16, 128, 128), strict=True):
        plane = wide[0] * row[0]
        plane += np.float32(zero * 256 + 0.5)  # cut off below, so that it is rounded
        for channel, weight in zip(wide[1:], row[1:], strict=True):
            np.multiply(channel, weight, out=part)
            plane += part
        codes.append(plane.astype("<u2"))
    return Planes(codes[0], codes[1], codes[2], "444", COLOUR)


def rgb_of_frame(frame: Any, where: object) -> tuple[list[Samples], int]:
    """Red, green and blue, (H, W) each, of a decoder's frame, and the code of white; transparency is dropped.

    Raises:
        DataError: floating point numbers, which have no white that a metric knows.
    """
    name = frame.format.name
    bits = max(part.bits for part in frame.format.components)
    if name in _TEN_BITS:
        words = _rows(frame.planes[0], frame, np.dtype("<u4"))
        channels = [(words >> shift) & 1023 for shift in _TEN_BITS[name]]
    elif bits > 16 or "f16" in name:
        raise DataError(f"pictures of floating point numbers ({name}) are not read", where=where,
                        hint="convert them to 8, 10 or 16 bit")  # fmt: skip
    elif name.startswith("gbr") and "msb" not in name and (bits == 8 or name.endswith("le")):
        kind = np.dtype(np.uint8 if bits == 8 else "<u2")
        green, blue, red = (_rows(frame.planes[place], frame, kind) for place in range(3))
        channels = [red, green, blue]
    elif name.startswith(_WIDE):
        samples = _rows(frame.reformat(format="rgb48le").planes[0], frame, np.dtype("<u2"), 3)
        channels = [samples[:, channel::3] for channel in range(3)]
    elif bits <= 8:
        samples = _rows(frame.reformat(format="rgb24").planes[0], frame, np.dtype(np.uint8), 3)
        channels, bits = [samples[:, channel::3] for channel in range(3)], 8
    else:
        made = frame.reformat(format="gbrp16le")
        green, blue, red = (_rows(made.planes[place], frame, np.dtype("<u2")) for place in range(3))
        channels, bits = [red, green, blue], 16
    return channels, 2**bits - 1


def _rows(plane: Any, frame: Any, kind: np.dtype[Any], channels: int = 1) -> Samples:
    samples: Samples = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return samples[: frame.height, : frame.width * channels]
