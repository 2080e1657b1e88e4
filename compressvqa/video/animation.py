"""Pictures that move: animated PNG is decoded like any video, animated WebP by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from compressvqa.errors import DataError
from compressvqa.video.frames import Planes
from compressvqa.video.info import VideoInfo
from compressvqa.video.pictures import is_picture, open_picture, probe_picture
from compressvqa.video.rgb import rgb_planes

PNG = b"\x89PNG\r\n\x1a\n"
HEAD = 1 << 16  # the mark of an animation stands before the pictures; larger profiles are not looked behind


def is_pillows(path: Path) -> bool:
    """Whether Pillow reads a file: a picture, or an animation that is not PNG."""
    return is_picture(path) and not is_animated_png(path)


def is_animated_png(path: Path) -> bool:
    """Whether a PNG file has a control chunk of animation before its first picture."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return head.startswith(PNG) and 0 < head.find(b"acTL") < (head.find(b"IDAT") + 1 or len(head))


def is_animated_webp(path: Path) -> bool:
    """Whether a WebP file says that it is an animation (RFC 9649, section 2.7)."""
    with path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def probe_webp(path: Path) -> VideoInfo:
    """Facts of an animated WebP file, its frames and their durations read from it.

    Raises:
        DataError: no picture, too large, or cut off.
    """
    first = probe_picture(path)
    ends = [end for end, _ in _frames(path)]
    durations = np.diff([0, *ends])
    varies = bool((np.abs(durations - np.median(durations)) > 1).any())
    rate = Fraction(1000 * len(ends), ends[-1]) if ends[-1] > 0 else None
    times = np.asarray([0, *ends[:-1]], np.float64) / 1000
    return replace(first, frames=len(ends), frame_rate=rate, variable_rate=varies, times=times)


def read_webp(path: Path) -> Iterator[Planes]:
    """Frames of an animated WebP file, as `compressvqa.video.pictures.read_picture` gives them.

    Raises:
        DataError: no picture, damaged or cut off.
    """
    for _, image in _frames(path):
        yield rgb_planes(list(np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)), 255)


def _frames(path: Path) -> Iterator[tuple[int, Image.Image]]:
    """The moment at which each frame ends, in milliseconds, and the frame."""
    with open_picture(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(number)
                image.load()
                end = int(image.info.get("timestamp", 0)) + int(image.info.get("duration", 0))
            except Exception as error:  # as of every picture
                raise DataError(f"is cut off or damaged at frame {number} ({error})", where=path) from error
            yield end, image
