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
import numpy as np
from PIL import Image, UnidentifiedImageError

from compressvqa.errors import DataError
from compressvqa.untrusted import local_file
from compressvqa.video.frames import Colour, Planes, Samples
from compressvqa.video.info import VideoInfo, check_size
from compressvqa.video.posture import exif_turn
from compressvqa.video.rgb import rgb_of_frame, rgb_planes

# Pillow's name of a form -> ffmpeg's decoder of it.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000")  # Pillow's others run programs
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
    with open_picture(path) as image:
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
    with open_picture(path) as image:
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
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture as Pillow opens it, of one of the forms that are read.

    Raises:
        DataError: no file, no such picture, too large; or damaged, while the context lasts.
    """
    local_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of a damaged file is said by an error
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as image:
            yield image


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        image = Image.open(path, formats=FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("is not a picture that can be read", where=path) from error
    except Exception as error:  # as below
        raise _damaged(error, path) from error
    with image:
        check_size(image.width, image.height, path)
        try:
            yield image
        except (DataError, GeneratorExit):
            raise
        # Each of Pillow's readers raises what its code comes to: struct.error, SyntaxError, zlib.error, TypeError, ...
        except Exception as error:
            raise _damaged(error, path) from error


def _damaged(error: Exception, path: Path) -> DataError:
    said = " ".join(str(error).split())[:120] or type(error).__name__
    return DataError(f"is cut off or damaged ({said})", where=path)
