"""Still pictures (PNG, JPEG, BMP, TIFF, WebP, PNM), read as videos of one frame.

Pillow reads them; it hands 16 bits of RGB on as 8, so that such files are decoded by ffmpeg's decoders.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from PIL import Image, UnidentifiedImageError

from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes, Samples
from compressvqa.video.info import VideoInfo, check_size
from compressvqa.video.posture import exif_turn
from compressvqa.video.rgb import rgb_of_frame, rgb_planes

# Pillow's name of a form -> ffmpeg's decoder of it.
_DECODERS = {"PNG": "png", "TIFF": "tiff", "PPM": "ppm"}
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
        depth = 16 if _is_deep(image) else 8
        rotation, mirrored = exif_turn(image.getexif().get(274))
        return VideoInfo(
            path=path, codec=str(image.format).lower(), width=image.width, height=image.height,
            chroma="400" if grey else "444", colour=Colour(depth, "bt709", True), frames=1, variable_rate=False,
            rgb=True, alpha="A" in image.getbands() or "transparency" in image.info, rotation=rotation,
            mirrored=mirrored,
        )  # fmt: skip


def read_picture(path: Path) -> Planes:
    """A picture's planes: 4:4:4 BT.709 of 16 bits, limited range, so that metrics of video see what they know.

    Transparency is dropped.

    Raises:
        DataError: no picture, damaged or cut off, or of numbers that have no white.
    """
    with _open(path) as image:
        try:
            if image.mode.startswith("I"):
                channels, white = [np.asarray(image)] * 3, 65535
            elif image.mode == "F":
                channels, white = [], 0
            elif _is_deep(image):
                decoder = _DECODERS[str(image.format)]
                image.load()  # Pillow tells of a file that is cut off
                channels, white = _decoded(path, decoder)
            else:
                rgb = np.asarray(image.convert("RGB"))
                channels, white = [rgb[..., place] for place in range(3)], 255
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError, KeyError, av.error.FFmpegError) as error:
            raise DataError(f"is cut off or damaged ({error})", where=path) from error
    if not channels or int(channels[0].max()) > white or int(channels[0].min()) < 0:
        raise DataError("is a picture of floating point or 32 bit numbers, which is not read", where=path,
                        hint="convert it to 8 or 16 bit")  # fmt: skip
    return rgb_planes(channels, white)


def _is_deep(image: Image.Image) -> bool:
    """Whether a file holds more than 8 bits a sample."""
    tiles: Any = getattr(image, "tile", ())
    kind = tiles[0].args if tiles else None
    words = kind if isinstance(kind, tuple) else (kind,)
    maximum = next((word for word in words[1:2] if image.format == "PPM" and isinstance(word, int)), 255)
    return image.mode.startswith(("I", "F")) or ";16" in str(words[0]) or maximum > 255


def _decoded(path: Path, decoder: str) -> tuple[list[Samples], int]:
    """Red, green and blue of a file of one picture, and the code of white."""
    codec: Any = av.CodecContext.create(decoder, "r")
    frames = [*codec.decode(av.Packet(path.read_bytes())), *codec.decode(None)]
    if len(frames) != 1:
        raise ValueError(f"{len(frames)} pictures")
    if frames[0].format.is_rgb:
        return rgb_of_frame(frames[0], path)
    grey = frames[0].reformat(format="gray16le")
    rows = np.frombuffer(grey.planes[0], "<u2").reshape(grey.height, -1)[:, : grey.width]
    return [rows] * 3, 65535


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
