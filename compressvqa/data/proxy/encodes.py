"""One distorted file of a proxy set: coded, read back as an evaluation reads it, measured, stored as it was coded."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressvqa.data import ladder
from compressvqa.data.ladder import CODECS, Rung
from compressvqa.data.proxy.references import Reference, unpack
from compressvqa.errors import DataError
from compressvqa.video import ffmpeg, vmaf
from compressvqa.video.raw import RawFormat
from compressvqa.video.vmaf import Labels

# Matroska mixes up the times of VVC's leading pictures and a plain VVC bitstream has no frame rate; MP4 keeps both.
CONTAINERS = {"vvc": ".mp4"}


@dataclass(frozen=True)
class Encode:
    """A distorted file as it was stored.

    Args:
        codec: a key of `compressvqa.data.ladder.CODECS`.
        quality: its constant quality, larger is worse.
        scale: share of width and height that was coded.
        width: of the coded picture.
        height: of the coded picture.
        bitdepth: of the coded picture.
        bytes: length of the file.
        kbps: of the file, with its container.
        labels: VMAF in its versions and PSNR of luma, mean over all frames; None where one is not defined.
        ffmpeg: version of the ffmpeg that coded and measured it.
    """

    codec: str
    quality: int
    scale: float
    width: int
    height: int
    bitdepth: int
    bytes: int
    kbps: float
    labels: Labels
    ffmpeg: str

    def facts(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def file_name(rung: Rung) -> str:
    """Name of the file that a rung gives.

    >>> file_name(Rung("x264", 28)), file_name(Rung("vvc", 37, 0.5))
    ('x264-q28.mkv', 'vvc-q37-s0.5.mp4')
    """
    return rung.name + CONTAINERS.get(rung.codec, CODECS[rung.codec].suffix)


def store_encode(reference: Path, facts: Reference, rung: Rung, stored: Path) -> Encode:
    """Encodes a reference with one rung and measures what comes back.

    VMAF is measured on the frames that this package's own reader decodes, so that it belongs to what a network sees.

    Args:
        reference: samples of the reference, a headerless file.
        facts: what they are.
        rung: codec, quality and size.
        stored: the file to write, of the coded size.

    Raises:
        DataError: the encoder or libvmaf failed, or not every frame comes back; the message names the rung.
    """
    raw, codec = facts.raw, CODECS[rung.codec]
    try:
        height, width = rung.coded_size(raw.height, raw.width)
        ladder.encode(reference, raw, rung, stored, tagged=True)
        coded = RawFormat(
            width, height,
            raw.pixel_format if raw.pixel_format in codec.chromas else "420",
            rung.coded_depth(raw.bitdepth),
            raw.frame_rate, matrix=raw.matrix,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=stored.parent) as place:
            decoded = Path(place) / "decoded.yuv"
            frames, _ = unpack(stored, coded, decoded)
            if frames != facts.frames:
                raise DataError(f"{frames} of {facts.frames} frames came back")
            labels = vmaf.measure(reference, decoded, raw, folder=Path(place), raw_distorted=coded)
    except DataError as error:
        stored.unlink(missing_ok=True)
        raise DataError(error.what, where=rung.name) from error
    size = stored.stat().st_size
    kbps = round(size * 8 / 1000 * float(raw.frame_rate or 25) / frames, 1)
    return Encode(
        rung.codec, rung.quality, rung.scale, width, height, coded.bitdepth, size, kbps, labels, ffmpeg.version()
    )
