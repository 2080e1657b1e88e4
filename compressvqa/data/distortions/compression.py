"""What still-picture and intra-frame coders do to a picture, by the coders themselves.

All of them code 4:2:0 (JPEG 2000: 4:4:4), as pictures and videos are nearly always stored.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compressvqa.data.distortions.base import distortion
from compressvqa.errors import DataError

SMALLEST = 32  # sides that x264 and x265 take


@distortion("jpeg", 75, 32, 14, 7, 3)
def jpeg(picture: Tensor, quality: float, rng: np.random.Generator) -> Tensor:
    """JPEG (ITU-T T.81) of a quality as libjpeg counts it: blocks of 8x8, ringing, washed-out colour."""
    return _by_pillow(picture, "JPEG", quality=int(quality), subsampling="4:2:0")


@distortion("webp", 70, 28, 8, 2, 0)
def webp(picture: Tensor, quality: float, rng: np.random.Generator) -> Tensor:
    """WebP, that is VP8's intra frames (RFC 6386), of a quality as libwebp counts it: smooth blocks."""
    return _by_pillow(picture, "WEBP", quality=int(quality), method=0)


@distortion("jpeg2000", 6, 14, 28, 56, 110)
def jpeg2000(picture: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """JPEG 2000 (ITU-T T.800), made smaller by a ratio: wavelet ringing and blur."""
    return _by_pillow(picture, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


@distortion("h264", 28, 34, 39, 44, 49)
def h264(picture: Tensor, crf: float, rng: np.random.Generator) -> Tensor:
    """An intra frame of H.264 (ITU-T H.264, x264) at a constant rate factor: directional prediction, deblocked."""
    options = {"preset": "veryfast", "tune": "zerolatency", "crf": str(crf)}
    return _by_encoder(picture, "libx264", "h264", options)


@distortion("hevc", 28, 35, 41, 46, 51)
def hevc(picture: Tensor, crf: float, rng: np.random.Generator) -> Tensor:
    """An intra frame of HEVC (ITU-T H.265, x265) at a constant rate factor: large smooth blocks."""
    plain = "log-level=none:pools=none:frame-threads=1:keyint=1"
    options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf), "x265-params": plain}
    return _by_encoder(picture, "libx265", "hevc", options)


def _bytes(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    codes: np.ndarray[Any, np.dtype[np.uint8]] = picture.mul(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(codes)


def _values(pixels: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).div_(255).contiguous()


def _by_pillow(picture: Tensor, form: str, **options: Any) -> Tensor:
    coded = io.BytesIO()
    try:
        Image.fromarray(_bytes(picture)).save(coded, form, **options)
        return _values(np.asarray(Image.open(coded, formats=[form]).convert("RGB")))
    except (OSError, KeyError) as error:
        raise DataError(f"Pillow can't write {form} here ({error})", hint="leave it out of data.distortions") from error


def _by_encoder(picture: Tensor, encoder: str, decoder: str, options: dict[str, str]) -> Tensor:
    height, width = picture.shape[1:]
    tall, wide = (max(SMALLEST, side + side % 2) for side in (height, width))
    pixels = np.pad(_bytes(picture), ((0, tall - height), (0, wide - width), (0, 0)), mode="edge")
    try:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts = 0
        coder: Any = av.CodecContext.create(encoder, "w")
        coder.width, coder.height, coder.pix_fmt, coder.thread_count = wide, tall, "yuv420p", 1
        coder.framerate, coder.time_base, coder.options = Fraction(25), Fraction(1, 25), options
        packets = [*coder.encode(frame), *coder.encode(None)]
        reader: Any = av.CodecContext.create(decoder, "r")
        reader.thread_count = 1
        shown = [frame for packet in [*packets, None] for frame in reader.decode(packet)]
        return _values(shown[0].to_ndarray(format="rgb24")[:height, :width])
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        hint = "leave it out of data.distortions"
        raise DataError(f"this build of PyAV can't code with {encoder} ({error})", hint=hint) from error
