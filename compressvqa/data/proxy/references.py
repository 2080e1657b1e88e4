"""References of a proxy set: a run of frames out of each clip, made smaller if wished, stored without loss.

A clip was compressed before, and what its codec did would count as the original. Making the picture smaller by a whole
factor averages most of it away, so "auto" does so wherever enough is left.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest
from compressvqa.plurals import count
from compressvqa.video import ffmpeg, vmaf
from compressvqa.video.clip import Clip
from compressvqa.video.compare import MIN_SIDE
from compressvqa.video.frames import Colour, Planes, Samples, sample_type
from compressvqa.video.info import VideoInfo
from compressvqa.video.raw import RawFormat
from compressvqa.video.read import probe, read_frames

# How far (relative) a container may round the rate that was asked for.
ROUNDED_RATE = 1e-3
# Motion, which VMAF and networks look at, needs two frames.
MIN_FRAMES = 2
# "auto" downscales by the largest of these that leaves the short side this long: the least that VMAF v1 measures.
AUTO_FACTORS, AUTO_SIDE = (4, 3, 2, 1), vmaf.V1_MIN_SIDE
# A stated rate outside of these is a damaged header, or a clock and no rate.
RATES = (Fraction(1), Fraction(240))
USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class Excerpt:
    """Which frames of a clip become its reference.

    Args:
        frames: how many; a shorter clip gives all it has, if they are at least `MIN_FRAMES`.
        start: number of the first one; None takes them from the middle.
        downscale: whole factor by which width and height are made smaller, or "auto".

    Raises:
        DataError: a number out of range.
    """

    frames: int = 60
    start: int | None = None
    downscale: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.frames < MIN_FRAMES or (self.start is not None and self.start < 0):
            raise DataError(
                f"{count(self.frames, 'frame')} from frame {self.start}", hint=f"at least {MIN_FRAMES} frames from 0 on"
            )
        if self.downscale != "auto" and self.downscale < 1:
            raise DataError(f"a downscale of {self.downscale}", hint='a whole number from 1 on, or "auto"')

    def factor(self, height: int, width: int) -> int:
        """The factor for a picture.

        >>> [Excerpt().factor(height, 2000) for height in (2160, 1080, 720, 540, 480)]
        [4, 4, 2, 2, 1]
        """
        if self.downscale != "auto":
            return self.downscale
        return next((factor for factor in AUTO_FACTORS if min(height, width) // factor >= AUTO_SIDE), 1)


@dataclass(frozen=True)
class Reference:
    """A reference as it was stored.

    Args:
        source: name of the clip's file.
        raw: size, format and rate of its frames.
        frames: how many they are.
        start: number of the first one in the clip.
        downscale: the factor it was made smaller by.
        sha256: of all its samples.
        bytes: length of the stored file.
        notes: what was changed on the way, as short clauses.
    """

    source: str
    raw: RawFormat
    frames: int
    start: int
    downscale: int
    sha256: str
    bytes: int
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self) | {"raw": asdict(self.raw) | {"frame_rate": str(self.raw.frame_rate)}}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Reference:
        """The reverse of `facts`."""
        rate = Fraction(facts["raw"]["frame_rate"])
        return cls(**facts | {"raw": RawFormat(**facts["raw"] | {"frame_rate": rate}), "notes": tuple(facts["notes"])})


def store_reference(clip: Clip, excerpt: Excerpt, stored: Path) -> Reference:
    """Takes the frames of a clip and stores them as FFV1; one frame at a time is held in memory.

    Args:
        clip: where from.
        excerpt: which frames.
        stored: the file to write, ending in .mkv; the samples lie beside it for a while.

    Raises:
        DataError: the clip can't be read, is HDR, too short or too small, or what was stored does not read back as the
            same samples.
    """
    info = probe(clip, count=True)
    if info.transfer != "sdr":
        raise DataError(f"HDR video ({info.transfer.upper()}): VMAF is for SDR", where=clip.path)
    start, stop = _range(info, excerpt)
    factor = excerpt.factor(info.height, info.width)
    height, width = (side // (2 * factor) * 2 for side in (info.height, info.width))
    if min(height, width) < MIN_SIDE:
        smaller = f" downscaled by {factor}" if factor > 1 else ""
        raise DataError(f"a frame of {info.width}x{info.height}{smaller} is smaller than {MIN_SIDE} a side")
    samples = stored.with_suffix(".yuv")
    raw: RawFormat | None = None
    try:
        with samples.open("wb") as file:
            for planes in read_frames(clip, start=start, stop=stop):
                small = shrink(planes, factor)
                file.write(small.to_bytes())
                # The frames tell, not the header: RGB of 8 bit is handed on as 4:4:4 of 16 bit.
                raw = raw or _format(small, info)
        if raw is None:
            raise DataError(f"no frame from frame {start} on", where=clip.path)
        frames = samples.stat().st_size // raw.frame_bytes
        if frames < MIN_FRAMES:
            raise DataError(
                f"{count(frames, 'frame')} from frame {start} on; {MIN_FRAMES} are the least", where=clip.path
            )
        sha256 = content_digest(samples)
        ffmpeg.run([*vmaf.raw_input(raw), "-i", samples.name, "-vf", vmaf.colour_tags(raw.colour),
                    "-c:v", "ffv1", "-level", "3", "-context", "1", "-g", "1000", "-slicecrc", "1", "-threads", "1",
                    "-fflags", "+bitexact", stored.name], folder=stored.parent)  # fmt: skip
    finally:
        samples.unlink(missing_ok=True)
    reference = Reference(clip.path.name, raw, frames, start, factor, sha256, stored.stat().st_size,
                          tuple(_notes(info, frames, excerpt, factor)))  # fmt: skip
    if unpack(stored, raw, None) != (frames, sha256):
        raise DataError("the stored reference does not read back as the frames that went in", where=clip.path)
    return reference


def unpack(video: Path, raw: RawFormat, samples: Path | None) -> tuple[int, str]:
    """Decodes a video of a known format to a headerless file (or nowhere, with None).

    Returns:
        number of frames, and the SHA-256 of their samples.

    Raises:
        DataError: it can't be read, or says another size, format, matrix, range or rate of itself.
    """
    stated = probe(video).frame_rate
    if raw.frame_rate is not None and (stated is None or abs(stated / raw.frame_rate - 1) > ROUNDED_RATE):
        raise DataError(f"reads back at {stated} frames a second, not at {raw.frame_rate}", where=video.name)
    digest, frames = hashlib.sha256(), 0
    file = None if samples is None else samples.open("wb")
    try:
        for planes in read_frames(video, threads=1):
            if (planes.size, planes.chroma, planes.colour) != ((raw.height, raw.width), raw.pixel_format, raw.colour):
                held = f"{planes.size[1]}x{planes.size[0]} {planes.chroma} {planes.colour}"
                raise DataError(f"reads back as {held}, not as {raw}", where=video.name)
            data = planes.to_bytes()
            digest.update(data)
            frames += 1
            if file is not None:
                file.write(data)
    finally:
        if file is not None:
            file.close()
    return frames, digest.hexdigest()


def _range(info: VideoInfo, excerpt: Excerpt) -> tuple[int, int]:
    total = info.frames or 0
    start = max(0, total - excerpt.frames) // 2 if excerpt.start is None else excerpt.start
    stop = min(total, start + excerpt.frames)
    if stop - start < MIN_FRAMES:
        raise DataError(f"has {count(total, 'frame')}: fewer than {MIN_FRAMES} from frame {start} on", where=info.path)
    return start, stop


def _format(planes: Planes, info: VideoInfo) -> RawFormat:
    (height, width), colour = planes.size, planes.colour
    assert planes.chroma != "400"
    return RawFormat(width, height, planes.chroma, colour.bitdepth, _rate(info), matrix=colour.matrix)


def _rate(info: VideoInfo) -> Fraction:
    """The clip's rate with a denominator that every encoder takes; a rate that can't be one gives the usual one."""
    rate = info.frame_rate
    return rate.limit_denominator(1001) if rate is not None and RATES[0] <= rate <= RATES[1] else USUAL_RATE


def _notes(info: VideoInfo, frames: int, excerpt: Excerpt, factor: int) -> list[str]:
    notes = []
    if frames < excerpt.frames:
        notes.append(f"{count(frames, 'frame')}, all there are from its start on")
    if factor == 1:
        notes.append("not downscaled, so the reference shows what the clip's own codec did")
    if info.colour.full_range:
        notes.append("full range brought to limited range")
    if info.chroma == "400":
        notes.append("grey, stored with neutral chroma")
    if info.variable_rate:
        notes.append("frame rate varied, stored at its mean")
    if info.frame_rate is None or not RATES[0] <= info.frame_rate <= RATES[1]:
        notes.append(f"frame rate {info.frame_rate or 'unknown'}, stored as {USUAL_RATE} a second")
    if info.rotation:
        notes.append(f"stored as coded, a player turns it by {info.rotation} degrees")
    return notes


# --- pictures ---------------------------------------------------------------------------------------------------


def shrink(planes: Planes, factor: int) -> Planes:
    """A picture with even sides and limited range, made smaller by a whole factor (mean over each square).

    Bit depth and chroma stay; grey becomes 4:2:0 with neutral chroma. Rows and columns at the bottom and the right
    that do not fill a square are cut off.

    Args:
        planes: one frame.
        factor: 1 or more.
    """
    height, width = (side // (2 * factor) * 2 * factor for side in planes.size)
    whole = planes.crop(0, 0, height, width)
    colour = Colour(planes.colour.bitdepth, planes.colour.matrix, False)
    y = _limited(_area(whole.y, factor), whole.colour, black=16, span=219, zero=0)
    if whole.u is None or whole.v is None:
        neutral = np.full((y.shape[0] // 2, y.shape[1] // 2), 128 << (colour.bitdepth - 8), y.dtype)
        return Planes(y, neutral, neutral, "420", colour)
    u, v = (_limited(_area(plane, factor), whole.colour, black=128, span=224, zero=128) for plane in (whole.u, whole.v))
    return Planes(y, u, v, whole.chroma, colour)


def _area(plane: Samples, factor: int) -> Samples:
    if factor == 1:
        return plane
    H, W = plane.shape
    means: Samples = plane.reshape(H // factor, factor, W // factor, factor).mean(axis=(1, 3), dtype=np.float32)
    return means


def _limited(samples: Samples, colour: Colour, *, black: int, span: int, zero: int) -> Samples:
    """Codes of limited range: `black` and `span` in 8 bit; `zero` is the same level's code in full range."""
    unit = 2 ** (colour.bitdepth - 8)
    if colour.full_range:
        samples = (samples - np.float32(zero * unit)) * np.float32(span * unit / (256 * unit - 1)) + black * unit
    codes: Samples = samples if samples.dtype.kind == "u" else np.rint(samples).astype(sample_type(colour.bitdepth))
    return codes
