"""Still pictures (PNG, JPEG, BMP, TIFF, WebP), read by Pillow as videos of one frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.info import VideoInfo, check_size
from compressvqa.video.rgb import rgb_planes

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def is_picture(path: Path) -> bool:
    """Whether a file's suffix is that of a still picture."""
    return path.suffix.lower() in SUFFIXES


def probe_picture(path: Path) -> VideoInfo:
    """Facts of a picture; one frame, no frame rate.

    Raises:
        DataError: no picture, or too large.
    """
    with _open(path) as image:
        grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
        depth = 16 if image.mode.startswith(("I", "F")) else 8
        return VideoInfo(
            path=path, codec=str(image.format).lower(), width=image.width, height=image.height,
            chroma="400" if grey else "444", colour=Colour(depth, "bt709", True), frames=1, variable_rate=False,
            rgb=True, alpha="A" in image.getbands() or "transparency" in image.info,
        )  # fmt: skip


def read_picture(path: Path) -> Planes:
    """A picture's planes: 4:4:4 BT.709 of 16 bits, limited range, so that metrics of video see what they know.

    Transparency is dropped.

    Raises:
        DataError: no picture, damaged or cut off.
    """
    with _open(path) as image:
        try:
            if image.mode.startswith("I"):
                grey = np.asarray(image, np.float64) / 65535
                rgb = np.repeat(grey[..., None], 3, axis=2)
            else:
                rgb = np.asarray(image.convert("RGB"), np.float64) / 255
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"is cut off or damaged ({error})", where=path) from error
    return rgb_planes(rgb)


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError) as error:
        raise DataError("is not a picture that can be read", where=path) from error
    with image:
        check_size(image.width, image.height, path)
        yield image
