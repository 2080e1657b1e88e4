"""Encoding ladders: one clip, through real encoders, at several rates and resolutions, and back.

Presets are fast ones: what is learnt from is the kind of distortion that a codec makes at a quality, not its rate.
Every encoder runs with one thread, which makes its output the same on every run of one machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressvqa.data import ffmpeg, vmaf
from compressvqa.data.frames import Samples, sample_type
from compressvqa.data.raw import RawFormat
from compressvqa.data.vmaf import Labels
from compressvqa.errors import DataError

# The smallest picture that all five encoders take.
MIN_CODED_SIDE = 64


@dataclass(frozen=True)
class Codec:
    """How an encoder is called.

    Args:
        encoder: ffmpeg's name of it.
        options: its options at a quality.
        highest: the largest (worst) quality number; 0 is the best.
        depths: bit depths that it takes; others are converted by ffmpeg.
        suffix: of the file it writes.
        chromas: chroma subsamplings that it takes; others become 4:2:0.
    """

    encoder: str
    options: Callable[[int], list[str]]
    highest: int
    depths: tuple[int, ...] = (8, 10)
    suffix: str = ".mkv"
    chromas: tuple[str, ...] = ("420", "422", "444")


CODECS: dict[str, Codec] = {
    "x264": Codec("libx264", lambda q: ["-preset", "veryfast", "-crf", str(q), "-threads", "1"], 51),
    "x265": Codec(
        "libx265",
        lambda q: ["-preset", "ultrafast", "-crf", str(q), "-x265-params", "pools=1:frame-threads=1:log-level=none"],
        51,
    ),
    "svt-av1": Codec(
        "libsvtav1", lambda q: ["-preset", "10", "-crf", str(q), "-svtav1-params", "lp=1"], 63, chromas=("420",)
    ),
    "vp9": Codec(
        "libvpx-vp9",
        lambda q: ["-deadline", "good", "-cpu-used", "5", "-b:v", "0", "-crf", str(q), "-threads", "1"],
        63,
    ),
    # Matroska mixes up the times of VVC's leading pictures; a plain bitstream has none. VVenC codes 10 bit only. Its
    # own threads are those beside the caller: with one of them, about every other clip of more than 32 frames ends in
    # an empty file and no error.
    "vvc": Codec(
        "libvvenc",
        lambda q: ["-preset", "faster", "-qp", str(q), "-threads", "1", "-vvenc-params", "threads=0"],
        63,
        (10,),
        ".266",
        ("420",),
    ),
}


@dataclass(frozen=True)
class Rung:
    """One way to distort a clip.

    Args:
        codec: a key of `CODECS`.
        quality: the encoder's constant quality (CRF; QP for vvc); larger is worse.
        scale: the share of width and height that is coded; the decoded picture is scaled back up.

    Raises:
        DataError: no such codec, quality or scale.

    >>> Rung("x264", 30).name, Rung("vvc", 37, 0.5).name
    ('x264-q30', 'vvc-q37-s0.5')
    """

    codec: str
    quality: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise DataError(f"unknown codec {self.codec!r}", hint=", ".join(CODECS))
        highest = CODECS[self.codec].highest
        if not 0 <= self.quality <= highest:
            raise DataError(f"{self.codec} has no quality {self.quality}", hint=f"0 (best) to {highest} (worst)")
        if not 0.125 <= self.scale <= 1:
            raise DataError(f"a scale of {self.scale}", hint="0.125 to 1")

    @property
    def name(self) -> str:
        """A short name, the same for equal rungs."""
        return f"{self.codec}-q{self.quality}" + ("" if self.scale == 1 else f"-s{self.scale:g}")

    def coded_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the coded picture, even numbers.

        Raises:
            DataError: it would be smaller than encoders take.
        """
        h, w = (max(2, 2 * round(side * self.scale / 2)) for side in (height, width))
        if min(h, w) < MIN_CODED_SIDE:
            raise DataError(f"rung {self.name} would code {w}x{h} pixels", hint=f"at least {MIN_CODED_SIDE} a side")
        return h, w


@dataclass(frozen=True)
class Distorted:
    """What a rung made of a clip.

    Args:
        samples: decoded and scaled back, (frames, samples of a frame), in the format of the reference.
        bytes: length of the coded file.
        labels: VMAF and PSNR against the reference.
    """

    samples: Samples
    bytes: int
    labels: Labels


def usable(rungs: list[Rung]) -> tuple[list[Rung], list[str]]:
    """The rungs that this ffmpeg can encode, and the names of the codecs that it lacks.

    Raises:
        DataError: it can encode none of them, or has no libvmaf.
    """
    ffmpeg.require(filter="libvmaf")
    lacking = sorted({rung.codec for rung in rungs if CODECS[rung.codec].encoder not in ffmpeg.encoders()})
    kept = [rung for rung in rungs if rung.codec not in lacking]
    if not kept:
        raise DataError(f"ffmpeg lacks every encoder of the ladder: {', '.join(lacking)}", where=ffmpeg.binary())
    return kept, lacking


def encode(reference: Path, raw: RawFormat, rung: Rung, bitstream: Path, *, tagged: bool = False) -> None:
    """Encodes a headerless .yuv file with one rung.

    Args:
        reference: the file.
        raw: what it holds.
        rung: codec, quality and size.
        bitstream: where to; its suffix chooses the container.
        tagged: for a file that is kept: states matrix and range, which a reader would otherwise guess from the height
            (another one for a smaller rung), and leaves out the random numbers that Matroska files begin with.

    Raises:
        DataError: the encoder failed.
    """
    codec = CODECS[rung.codec]
    h, w = rung.coded_size(raw.height, raw.width)
    depth = raw.bitdepth if raw.bitdepth in codec.depths else 10
    chroma = raw.pixel_format if raw.pixel_format in codec.chromas else "420"
    pixels = f"yuv{chroma}p" + ("" if depth == 8 else f"{depth}le")
    steps = [] if (h, w) == (raw.height, raw.width) else [f"scale={w}:{h}:flags=lanczos"]
    if tagged:
        steps.append(vmaf.colour_tags(raw.colour))
    filters = ["-vf", ",".join(steps)] if steps else []
    ffmpeg.run([*vmaf.raw_input(raw), "-i", f"file:{reference.absolute()}", *filters, "-pix_fmt", pixels,
                "-c:v", codec.encoder, *codec.options(rung.quality), "-an",
               *(["-fflags", "+bitexact"] if tagged else []), bitstream.name],
               folder=bitstream.parent)  # fmt: skip


def decode_and_measure(bitstream: Path, reference: Path, raw: RawFormat) -> tuple[Samples, Labels]:
    """Decodes a coded clip, scales it back to the reference's size and measures it, in one run of ffmpeg.

    Returns:
        the samples, (frames, samples of a frame), in the reference's format; and the labels.

    Raises:
        DataError: it does not decode to as many frames as the reference has.
    """
    folder = bitstream.parent
    frames = reference.stat().st_size // raw.frame_bytes
    log, decoded = f"{bitstream.name}.json", folder / f"{bitstream.name}.yuv"
    # Frames are numbered anew, so that the two inputs meet by number and not by what a container says of time.
    graph = (
        f"[0:v]scale={raw.width}:{raw.height}:flags=bicubic,format={vmaf.pixel_format(raw)},settb=1/25,setpts=N,split[a][kept];"
        f"[1:v]settb=1/25,setpts=N[r];[a][r]{vmaf.vmaf_filter(raw.height, raw.width, log)}[measured]"
    )
    ffmpeg.run(["-threads", "1", "-i", f"file:{bitstream.absolute()}",
                *vmaf.raw_input(raw), "-i", f"file:{reference.absolute()}",
                "-filter_complex_threads", "1", "-filter_complex", graph,
                "-map", "[kept]", "-fps_mode", "passthrough", "-f", "rawvideo", decoded.name,
                "-map", "[measured]", "-fps_mode", "passthrough", "-f", "null", "-"],
               folder=folder)  # fmt: skip
    samples = np.fromfile(decoded, sample_type(raw.bitdepth))
    if samples.nbytes != frames * raw.frame_bytes:
        raise DataError(f"{samples.nbytes // raw.frame_bytes} of {frames} frames came back", where=bitstream.name)
    return samples.reshape(frames, -1), vmaf.read_log(folder / log, frames)


def distort(reference: Path, raw: RawFormat, rung: Rung) -> Distorted:
    """Sends a headerless .yuv file through one rung; the files on the way lie beside it and are removed.

    Raises:
        DataError: the encoder, the decoder or libvmaf failed; the message names the rung.
    """
    bitstream = reference.with_name(f"{reference.stem}-{rung.name}{CODECS[rung.codec].suffix}")
    try:
        encode(reference, raw, rung, bitstream)
        samples, labels = decode_and_measure(bitstream, reference, raw)
        return Distorted(samples, bitstream.stat().st_size, labels)
    except DataError as error:
        raise DataError(error.what, where=rung.name) from error
    finally:
        for suffix in ("", ".yuv", ".json"):
            bitstream.with_name(bitstream.name + suffix).unlink(missing_ok=True)
