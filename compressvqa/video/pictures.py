"""Still pictures (PNG, JPEG, BMP, TIFF, WebP), read by Pillow as videos of one frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from compressvqa.errors import DataError
from compressvqa.video.frames import LUMA_WEIGHTS, Colour, Planes, Samples
from compressvqa.video.info import VideoInfo, check_size

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
# RGB becomes planes of 16 bits, which keep its 8 bits to within a hundredth of a step.
COLOUR = Colour(16, "bt709", False)


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
            chroma="400" if grey else "444", colour=Colour(depth, "bt709", False), frames=1, variable_rate=False,
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
    return _planes(rgb)


def _planes(rgb: Samples) -> Planes:
    kr, kb = LUMA_WEIGHTS["bt709"]
    r, g, b = np.moveaxis(np.clip(rgb, 0, 1), -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    scale = 256.0
    codes = [np.rint((span * part + zero) * scale).astype("<u2") for part, span, zero in
             ((y, 219, 16), (u, 224, 128), (v, 224, 128))]  # fmt: skip
    return Planes(codes[0], codes[1], codes[2], "444", COLOUR)


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
