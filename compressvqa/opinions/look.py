"""A look at the files of a data set: what their headers tell, and how near one picture is to its reference."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video.clip import Clip
from compressvqa.video.folders import VIDEO_SUFFIXES
from compressvqa.video.frames import Samples
from compressvqa.video.pictures import open_picture
from compressvqa.video.read import probe, read_frames
from compressvqa.video.sequence import is_sequence

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".raw"}


@dataclass(frozen=True)
class Seen:
    """What the header of a file tells.

    Args:
        width: of its pictures.
        height: of its pictures.
        frame_rate: None for an image, and where it is not known.
        frames: None where the header does not tell.
        headerless: whether size and rate come from the manifest, and not from the file.
    """

    width: int
    height: int
    frame_rate: Fraction | None
    frames: int | None
    headerless: bool = False


def is_image(clip: Clip) -> bool:
    """Whether a file is an image by its suffix; a GIF counts as a video."""
    return clip.path.suffix.lower() in IMAGE_SUFFIXES and not is_sequence(clip.path)


def look_at(clip: Clip) -> Seen:
    """What the header of a video or image tells.

    Raises:
        DataError: a file that can't be read.
    """
    if is_image(clip):
        with open_picture(clip.path) as image:
            return Seen(*image.size, None, 1)
    info = probe(clip)
    return Seen(info.width, info.height, info.frame_rate, info.frames, clip.raw is not None)


def luma(clip: Clip, frame: int) -> Samples:
    """The luma of one picture, (H, W), at most 1.

    Raises:
        DataError: a file that can't be read, or that ends before this frame.
    """
    if is_image(clip):
        with open_picture(clip.path) as image:
            return np.asarray(image.convert("L"), dtype=np.float32) / 255
    for planes in read_frames(clip, start=frame, stop=frame + 1, threads=1):
        largest = (1 << planes.colour.bitdepth) - 1
        return planes.y.astype(np.float32) / largest
    raise DataError(f"has no frame {frame}", where=clip.path)


def psnr(reference: Samples, distorted: Samples) -> float:
    """10 log10(1 / mean squared error) of two pictures, at most 100 dB.

    >>> round(psnr(np.zeros((2, 2)), np.full((2, 2), .1)), 6)
    20.0
    """
    error = float(np.mean(np.square(reference.astype(np.float64) - distorted)))
    return min(100.0, -10 * float(np.log10(max(error, 1e-10))))
