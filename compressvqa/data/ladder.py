"""Encoding ladders: one clip, through real encoders, at several rates, resolutions and generations, and back.

Presets are fast ones: what is learnt from is the kind of distortion that a codec makes at a quality, not its rate.
Every encoder runs with one thread, which makes its output the same on every run of one machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from compressvqa.data.filters import Filter
from compressvqa.errors import DataError
from compressvqa.video import ffmpeg, vmaf
from compressvqa.video.frames import Samples, sample_type
from compressvqa.video.raw import RawFormat
from compressvqa.video.vmaf import Labels

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
    """One way to code a clip.

    Args:
        codec: a key of `CODECS`.
        quality: the encoder's constant quality (CRF; QP for vvc); larger is worse.
        scale: the share of width and height that is coded; the decoded picture is scaled back up.
        depth: bit depth that is coded, 8 or 10; None: that of the clip, if the encoder takes it.
        first: the clip is coded so first, and what is decoded of it is coded again: a second generation.

    Raises:
        DataError: no such codec, quality, scale or depth, or a third generation.

    >>> Rung("x264", 30).name, Rung("vvc", 37, 0.5).name
    ('x264-q30', 'vvc-q37-s0.5')
    >>> Rung("x265", 30, depth=10, first=Rung("x264", 24)).name
    'x265-q30-10bit-after-x264-q24'
    """

    codec: str
    quality: int
    scale: float = 1.0
    depth: int | None = None
    first: Rung | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise DataError(f"unknown codec {self.codec!r}", hint=", ".join(CODECS))
        highest, depths = CODECS[self.codec].highest, CODECS[self.codec].depths
        if not 0 <= self.quality <= highest:
            raise DataError(f"{self.codec} has no quality {self.quality}", hint=f"0 (best) to {highest} (worst)")
        if not 0.125 <= self.scale <= 1:
            raise DataError(f"a scale of {self.scale}", hint="0.125 to 1")
        if self.depth is not None and self.depth not in depths:
            raise DataError(f"{self.codec} does not code {self.depth} bit", hint=" or ".join(map(str, depths)))
        if self.first is not None and self.first.first is not None:
            raise DataError(f"{self.first.name} is a second generation already", hint="one `first` only")

    @property
    def name(self) -> str:
        """A short name, the same for equal rungs."""
        scale = "" if self.scale == 1 else f"-s{self.scale:g}"
        depth = "" if self.depth is None else f"-{self.depth}bit"
        return f"{self.codec}-q{self.quality}{scale}{depth}" + (f"-after-{self.first.name}" if self.first else "")

    def facts(self) -> dict[str, Any]:
        """What a set of patches stores of it; what was not asked for is left out."""
        facts: dict[str, Any] = {"codec": self.codec, "quality": self.quality, "scale": self.scale}
        if self.depth is not None:
            facts["depth"] = self.depth
        return facts if self.first is None else facts | {"first": self.first.name}

    def coded_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the coded picture, even numbers.

        Raises:
            DataError: it would be smaller than encoders take.
        """
        h, w = (max(2, 2 * round(side * self.scale / 2)) for side in (height, width))
        if min(h, w) < MIN_CODED_SIDE:
            raise DataError(f"rung {self.name} would code {w}x{h} pixels", hint=f"at least {MIN_CODED_SIDE} a side")
        if self.first is not None:
            self.first.coded_size(height, width)
        return h, w

    def coded_depth(self, bitdepth: int) -> int:
        """Bit depth of the coded picture of a clip of some depth."""
        return self.depth or (bitdepth if bitdepth in CODECS[self.codec].depths else 10)

    @property
    def encoders(self) -> set[str]:
        """Keys of `CODECS` that it needs."""
        return {self.codec} | (set() if self.first is None else self.first.encoders)


AnyRung: TypeAlias = Rung | Filter
"""A way to distort a clip: with a codec, or without one."""
R = TypeVar("R", bound=AnyRung)


@dataclass(frozen=True)
class Distorted:
    """What a rung made of a clip.

    Args:
        samples: decoded and scaled back, (frames, samples of a frame), in the format of the reference.
        bytes: length of the coded file; 0 where there is none.
        labels: VMAF and PSNR against the reference.
    """

    samples: Samples
    bytes: int
    labels: Labels


def usable(rungs: Sequence[R]) -> tuple[list[R], list[str]]:
    """The rungs that this ffmpeg can make, and the names of the codecs that it lacks.

    Raises:
        DataError: it can make none of them, or has no libvmaf.
    """
    ffmpeg.require(filter="libvmaf")
    needed = {codec for rung in rungs for codec in rung.encoders}
    lacking = sorted(codec for codec in needed if CODECS[codec].encoder not in ffmpeg.encoders())
    kept = [rung for rung in rungs if not rung.encoders & set(lacking)]
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
    depth = rung.coded_depth(raw.bitdepth)
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


def decode(bitstream: Path, raw: RawFormat, decoded: Path) -> None:
    """Decodes a coded clip to a headerless file, scaled to the size and brought to the format of `raw`.

    Raises:
        DataError: it can't be decoded.
    """
    ffmpeg.run(["-threads", "1", "-i", f"file:{bitstream.absolute()}", "-vf", _as_reference(raw),
                "-fps_mode", "passthrough", "-f", "rawvideo", decoded.name], folder=decoded.parent)  # fmt: skip


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
        f"[0:v]{_as_reference(raw)},settb=1/25,setpts=N,split[a][kept];"
        f"[1:v]settb=1/25,setpts=N[r];[a][r]{vmaf.vmaf_filter(raw.height, raw.width, log)}[measured]"
    )
    ffmpeg.run(["-threads", "1", "-i", f"file:{bitstream.absolute()}",
                *vmaf.raw_input(raw), "-i", f"file:{reference.absolute()}",
                "-filter_complex_threads", "1", "-filter_complex", graph,
                "-map", "[kept]", "-fps_mode", "passthrough", "-f", "rawvideo", decoded.name,
                "-map", "[measured]", "-fps_mode", "passthrough", "-f", "null", "-"],
               folder=folder)  # fmt: skip
    return _samples(decoded, raw, frames, bitstream.name), vmaf.read_log(folder / log, frames)


def _as_reference(raw: RawFormat) -> str:
    return f"scale={raw.width}:{raw.height}:flags=bicubic,format={vmaf.pixel_format(raw)}"


def _samples(path: Path, raw: RawFormat, frames: int, what: str) -> Samples:
    samples = np.fromfile(path, sample_type(raw.bitdepth))
    if samples.nbytes != frames * raw.frame_bytes:
        raise DataError(f"{samples.nbytes // raw.frame_bytes} of {frames} frames came back", where=what)
    return samples.reshape(frames, -1)


def distort(reference: Path, raw: RawFormat, rung: AnyRung) -> Distorted:
    """Sends a headerless .yuv file through one rung; the files on the way lie in a folder beside it and are removed.

    Raises:
        DataError: the encoder, the decoder or libvmaf failed; the message names the rung.
    """
    try:
        with tempfile.TemporaryDirectory(dir=reference.parent, prefix="rung-") as place:
            if isinstance(rung, Filter):
                return _filtered(reference, raw, rung, Path(place))
            return _coded(reference, raw, rung, Path(place))
    except DataError as error:
        raise DataError(error.what, where=rung.name) from error


def _coded(reference: Path, raw: RawFormat, rung: Rung, place: Path) -> Distorted:
    source = reference
    if rung.first is not None:
        before, source = place / f"first{CODECS[rung.first.codec].suffix}", place / "first.yuv"
        encode(reference, raw, rung.first, before)
        decode(before, raw, source)
        _samples(source, raw, reference.stat().st_size // raw.frame_bytes, rung.first.name)
    bitstream = place / f"coded{CODECS[rung.codec].suffix}"
    encode(source, raw, rung, bitstream)
    samples, labels = decode_and_measure(bitstream, reference, raw)
    return Distorted(samples, bitstream.stat().st_size, labels)


def _filtered(reference: Path, raw: RawFormat, rung: Filter, place: Path) -> Distorted:
    frames = reference.stat().st_size // raw.frame_bytes
    made = place / "filtered.yuv"
    samples = rung(_samples(reference, raw, frames, rung.name), raw)
    made.write_bytes(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())
    return Distorted(samples, 0, vmaf.measure(reference, made, raw, folder=place))
