"""Video without compression: headerless planar .yuv and Y4M (YUV4MPEG2), read and written frame by frame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video.frames import (
    Chroma,
    Colour,
    Planes,
    plane_shapes,
    sample_type,
    split_planes,
)
from compressvqa.video.info import Damage, VideoInfo, check_size, default_matrix
from compressvqa.video.matrices import Matrix
from compressvqa.video.posture import Scan

MAGIC = b"YUV4MPEG2"
PLAIN = b"FRAME\n"  # a frame's header without tags
SCAN_TAGS: dict[str, Scan] = {"p": "progressive", "t": "tff", "b": "bff"}
# A header longer than this is not a Y4M header.
MAX_HEADER = 4096
# Frames a second that a header may claim; beyond it the rate counts as unknown.
FASTEST = 100_000


@dataclass(frozen=True)
class RawFormat:
    """What a headerless .yuv file holds: planar frames, samples above 8 bit in two bytes, low byte first.

    Args:
        width: luma samples in a row.
        height: luma rows.
        pixel_format: chroma subsampling, "420", "422" or "444".
        bitdepth: 8, 10, 12 or 16.
        frame_rate: frames a second, if known.
        full_range: whether luma uses every code (0..255) and not 16..235.
        matrix: "bt601", "bt709", "bt2020", "fcc" or "smpte240m"; None: that of the file it is compared with,
            or, where that does not say either, BT.709 from 720 lines on, BT.601 below.

    Raises:
        DataError: a value that no raw video has.

    >>> RawFormat(1920, 1080, bitdepth=10).frame_bytes
    6220800
    """

    width: int
    height: int
    pixel_format: Literal["420", "422", "444"] = "420"
    bitdepth: int = 8
    frame_rate: Fraction | None = None
    full_range: bool = False
    matrix: Matrix | None = None

    def __post_init__(self) -> None:
        check_size(self.width, self.height, "raw video")
        if self.pixel_format not in ("420", "422", "444"):
            raise DataError(f"raw video of pixel format {self.pixel_format!r}", hint="one of 420, 422, 444")
        if self.bitdepth not in (8, 10, 12, 16):
            raise DataError(f"raw video of {self.bitdepth} bit", hint="one of 8, 10, 12, 16")

    @property
    def colour(self) -> Colour:
        """Bit depth, matrix and range of the samples."""
        return Colour(self.bitdepth, self.matrix or default_matrix(self.height), self.full_range)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return _frame_bytes(self.width, self.height, self.pixel_format, self.bitdepth)


def _frame_bytes(width: int, height: int, chroma: Chroma, bitdepth: int) -> int:
    samples = sum(rows * columns for rows, columns in plane_shapes(height, width, chroma))
    return samples * sample_type(bitdepth).itemsize


def probe_raw(path: Path, raw: RawFormat) -> VideoInfo:
    """Facts of a headerless .yuv file.

    Raises:
        DataError: its length is not a whole number of such frames.
    """
    length = path.stat().st_size
    if length == 0 or length % raw.frame_bytes:
        whole, rest = divmod(length, raw.frame_bytes)
        what = f"{length} bytes are {whole} frames of {raw.width}x{raw.height} 4:{raw.pixel_format[1]}:"
        what += f"{raw.pixel_format[2]} {raw.bitdepth} bit and {rest} bytes more: cut off, or of another format"
        raise DataError(what if whole else f"{length} bytes are less than one frame", where=path,
                        hint="check width, height, pixel format and bit depth")  # fmt: skip
    return VideoInfo(
        path=path, codec="rawvideo", width=raw.width, height=raw.height, chroma=raw.pixel_format, colour=raw.colour,
        frame_rate=raw.frame_rate, frames=length // raw.frame_bytes, matrix_stated=raw.matrix is not None,
    )  # fmt: skip


def read_raw(path: Path, raw: RawFormat, start: int = 0) -> Iterator[Planes]:
    """Frames of a headerless .yuv file, one at a time, from frame `start` on."""
    probe_raw(path, raw)
    with path.open("rb") as file:
        file.seek(start * raw.frame_bytes)
        while (data := file.read(raw.frame_bytes)) != b"":
            if len(data) < raw.frame_bytes:
                raise DataError("the file became shorter while it was read", where=path)
            samples = np.frombuffer(data, sample_type(raw.bitdepth))
            yield split_planes(samples, raw.height, raw.width, raw.pixel_format, raw.colour)


# --- Y4M --------------------------------------------------------------------------------------------------------


def is_y4m(path: Path) -> bool:
    """Whether a file begins as YUV4MPEG2 does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def probe_y4m(path: Path) -> VideoInfo:
    """Facts of a Y4M file, its frames counted; where the last one is cut off, `VideoInfo.damage` says so.

    Raises:
        DataError: a header that is not understood, or not one whole frame.
    """
    with path.open("rb") as file:
        info, size = _y4m_header(file, path)
        if info.frames is not None:
            return info
        # Its frames have headers of other lengths, or it is cut off.
        length, number = path.stat().st_size, 0
        while (line := file.readline(MAX_HEADER)) != b"":
            if not line.startswith(b"FRAME") or file.tell() + size > length:
                return replace(info, frames=number, damage=_y4m_damage(number))
            file.seek(size, 1)
            number += 1
        return replace(info, frames=number)


def _y4m_damage(number: int) -> Damage:
    return Damage(number, f"frame {number} is cut off or damaged: the file is truncated")


def read_y4m(path: Path, start: int = 0) -> Iterator[Planes]:
    """Frames of a Y4M file, one at a time, from frame `start` on.

    Raises:
        DataError: as `probe_y4m`, or a frame that is cut off.
    """
    with path.open("rb") as file:
        info, size = _y4m_header(file, path)
        number = 0
        if info.frames is not None:  # plain headers, all of one length
            number = min(start, info.frames)
            file.seek(number * (size + len(PLAIN)), 1)
        while (line := file.readline(MAX_HEADER)) != b"":
            data = file.read(size)
            if not line.startswith(b"FRAME") or len(data) < size:
                raise _y4m_damage(number).error(path)
            if number >= start:
                samples = np.frombuffer(data, sample_type(info.colour.bitdepth))
                yield split_planes(samples, info.height, info.width, info.chroma, info.colour)
            number += 1


def _y4m_header(file: BinaryIO, path: Path) -> tuple[VideoInfo, int]:
    header = file.readline(MAX_HEADER).decode("ascii", "replace").rstrip("\n")
    words = header.split(" ")
    if words[0].encode() != MAGIC:
        raise DataError("not a Y4M file", where=path)
    tags = {word[0]: word[1:] for word in words[1:] if word and word[0] != "X"}
    extra = dict(word[1:].split("=", 1) for word in words[1:] if word.startswith("X") and "=" in word)
    try:
        width, height = int(tags["W"]), int(tags["H"])
        top, _, bottom = tags.get("F", "0:0").partition(":")
        rate = Fraction(int(top), int(bottom)) if int(top) and int(bottom) else None
        rate = rate if rate is not None and 0 < rate <= FASTEST else None
    except (KeyError, ValueError) as error:
        raise DataError(f"Y4M header {header[:80]!r} lacks a size or rate", where=path) from error
    check_size(width, height, path)
    chroma, bitdepth = _y4m_chroma(tags.get("C", "420"), path)
    colour = Colour(bitdepth, default_matrix(height), extra.get("COLORRANGE", "").upper() == "FULL")
    size = _frame_bytes(width, height, chroma, bitdepth)
    # Frame headers may carry tags, so the count by length is exact only for plain ones, which everyone writes.
    body = path.stat().st_size - file.tell()
    frames, rest = divmod(body, size + len(PLAIN))
    scan = SCAN_TAGS.get(tags.get("I", "p")[:1], "progressive")
    info = VideoInfo(path=path, codec="rawvideo", width=width, height=height, chroma=chroma, colour=colour,
                     frame_rate=rate, frames=frames if rest == 0 else None, matrix_stated=False, scan=scan,
                     pixel_aspect=_aspect(tags.get("A", "")))  # fmt: skip
    if body < size:
        raise DataError("a Y4M file without one whole frame", where=path)
    return info, size


def _aspect(tag: str) -> Fraction:
    """A pixel's width over its height; "0:0" is unknown."""
    across, _, down = tag.partition(":")
    known = across.isdecimal() and down.isdecimal() and int(across) and int(down)
    return Fraction(int(across), int(down)) if known else Fraction(1)


def _y4m_chroma(tag: str, path: Path) -> tuple[Chroma, int]:
    match = re.fullmatch(r"(420|422|444)(?:jpeg|paldv|mpeg2)?(?:p(\d{1,2}))?|mono(\d{0,2})", tag)
    depth = 8 if match is None else int(match[2] or match[3] or 8)
    if match is None or depth not in (8, 9, 10, 12, 14, 16):
        hint = "420, 422, 444, up to 16 bit, or mono"
        raise DataError(f"Y4M colour space {tag!r} is not read", where=path, hint=hint)
    return match[1] or "400", depth  # type: ignore[return-value]  # the pattern allows these only


def write_y4m(path: Path, frames: Iterable[Planes], frame_rate: Fraction = Fraction(25)) -> int:
    """Writes frames of one size and format as Y4M and returns how many they were.

    Raises:
        DataError: no frame at all.
    """
    count = 0
    with path.open("wb") as file:
        for frame in frames:
            if count == 0:
                file.write(_y4m_header_of(frame, frame_rate))
            file.write(PLAIN + frame.to_bytes())
            count += 1
    if count == 0:
        path.unlink()
        raise DataError("no frame to write", where=path)
    return count


def _y4m_header_of(frame: Planes, rate: Fraction) -> bytes:
    H, W = frame.size
    depth = frame.colour.bitdepth
    name = "mono" if frame.chroma == "400" else frame.chroma
    suffix = "" if depth == 8 else str(depth) if name == "mono" else f"p{depth}"
    if name == "420" and depth == 8:
        suffix = "jpeg"
    span = "FULL" if frame.colour.full_range else "LIMITED"
    tags = f" W{W} H{H} F{rate.numerator}:{rate.denominator} Ip A1:1 C{name}{suffix} XCOLORRANGE={span}\n"
    return MAGIC + tags.encode()
