"""What single cells of a table of scores may hold: numbers, frame rates, pixel formats, paths.

A wrong value raises ValueError with what is wrong; the caller knows file, line and column. What a file name says
(`said_...`) is None where it says nothing.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import PurePosixPath

from compressvqa.errors import DataError
from compressvqa.video.frames import Chroma

DEPTHS = (8, 10, 12, 16)
# What Linux, macOS and Windows all take: characters of a path, bytes of one name.
MAX_PATH, MAX_NAME = 4000, 255
# Characters of a wrong value that a message shows.
SHOWN = 80
# Frame rates that video people write rounded: 23.976, 29.97, 59.94, ... stand for n * 1000 / 1001.
NTSC = tuple(Fraction(whole * 1000, 1001) for whole in (24, 30, 48, 60, 120, 240))


def short(text: str) -> str:
    """A text in quotes as a message shows it, cut where it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def number(text: str) -> float:
    """A finite number.

    >>> number(" 3.5 ")
    3.5
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{short(text.strip())} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{short(text.strip())} is no finite number")
    return value


def number_at(text: object, where: object) -> float:
    """A finite number of a file.

    Raises:
        DataError: it is none; the place is named.
    """
    try:
        return number(str(text))
    except ValueError as error:
        raise DataError(str(error), where=where) from error


def integer(text: str, least: int = 0) -> int:
    """A whole number of at least `least`; "25.0" counts as one.

    >>> integer("25.0")
    25
    """
    value = number(text)
    if value != int(value):
        raise ValueError(f"{short(text.strip())} is no whole number")
    if value < least:
        raise ValueError(f"{text.strip()[:SHOWN]} is less than {least}")
    return int(value)


def frame_rate(text: str) -> Fraction:
    """Frames a second, as "25", "30000/1001" or a decimal number; 23.976, 29.97, ... mean thousand-and-firsts.

    >>> frame_rate("29.97")
    Fraction(30000, 1001)
    >>> frame_rate("2997/100")
    Fraction(2997, 100)
    """
    text = text.strip()
    try:
        # Fraction works exponents out exactly, which "1e999999999" would keep it busy with for ever.
        rate = Fraction(float(text)).limit_denominator(10**9) if "e" in text.casefold() else Fraction(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"{short(text)} is no frame rate (25, 29.97, 30000/1001, ...)") from None
    if not 0 < rate <= 1000:
        raise ValueError(f"a frame rate of {text[:SHOWN]} is not in 0..1000")
    if "/" not in text and rate.denominator != 1:
        near = min(NTSC, key=lambda known: abs(known - rate))
        return near if abs(near - rate) < Fraction(1, 150) else rate.limit_denominator(10**9)
    return rate


def pixel_format(text: str) -> tuple[Chroma, int | None]:
    """Chroma subsampling, and the bit depth where the name tells it.

    >>> pixel_format("yuv420p10le"), pixel_format("4:2:2")
    (('420', 10), ('422', None))
    """
    name = text.strip().lower().replace(":", "")
    if match := re.fullmatch(r"gray(?:(10|12|16)(?:le)?)?", name):
        return "400", int(match[1] or 8)
    match = re.fullmatch(r"(yuv)?(400|420|422|444)(?:p(10|12|16)?(?:le)?)?", name)
    if match is None:
        raise ValueError(f"pixel format {short(text.strip())} is not one of 420, 422, 444, 400, yuv420p10le, ...")
    depth = int(match[3]) if match[3] else 8 if match[1] else None
    return match[2], depth  # type: ignore[return-value]  # the pattern allows these four only


def bit_depth(text: str) -> int:
    """8, 10, 12 or 16."""
    depth = integer(text)
    if depth not in DEPTHS:
        raise ValueError(f"bit depth {str(depth)[:SHOWN]} is not one of 8, 10, 12, 16")
    return depth


def inside(path: str) -> str:
    """A path below the folder of a data set, with forward slashes.

    >>> inside("clips/a.mp4")
    'clips/a.mp4'
    >>> inside("../a.mp4")
    Traceback (most recent call last):
    ValueError: the path '../a.mp4' leaves the folder of the data set
    """
    if not path.strip():
        raise ValueError("the path is empty")
    if "://" in path:
        raise ValueError(f"{short(path)} is an address, not a local file")
    if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", path):
        raise ValueError(f"the path {short(path)} is absolute; it must be below the folder of the data set")
    if ".." in PurePosixPath(path).parts:
        raise ValueError(f"the path {short(path)} leaves the folder of the data set")
    if "\0" in path or any("\ud800" <= character <= "\udfff" for character in path):
        raise ValueError(f"the path {short(path)} holds what no file name does")
    if len(path) > MAX_PATH or any(len(part.encode()) > MAX_NAME for part in path.split("/")):
        raise ValueError(f"the path {short(path)} is longer than file systems allow")
    return path


def said_depth(name: str) -> int | None:
    """The bit depth that a file name tells.

    >>> said_depth("S11AirAcrobatic_1920x1080_60fps_10bit_420.yuv"), said_depth("Market_1920x1080p50_10b.yuv")
    (10, 10)
    """
    match = re.search(r"(?<![0-9A-Za-z])(8|10|12|16)[ -]?b(?:its?)?(?![A-Za-z0-9])|4[024][024]p(10|12|16)", name)
    return int(match[1] or match[2]) if match else None


def said_rate(name: str) -> Fraction | None:
    """The frame rate that a file name tells.

    >>> said_rate("Tennis_24fps.yuv"), said_rate("IpMan2_A_1920x1080_fps23.97.yuv"), said_rate("Toys_1080p50_8b.yuv")
    (Fraction(24, 1), Fraction(24000, 1001), Fraction(50, 1))
    """
    for pattern in (r"(?<![0-9.])(\d{2,3}(?:\.\d+)?)fps", r"fps(\d{2,3}(?:\.\d+)?)", r"\d{3,4}p(\d{2,3})(?![0-9])"):
        if match := re.search(pattern, name):
            return frame_rate(match[1])
    return None


def said_size(name: str) -> tuple[int, int] | None:
    """The frame size that a file name tells.

    >>> said_size("BQMall_832x480_dst_01.yuv")
    (832, 480)
    """
    match = re.search(r"(?<![0-9])(\d{2,5})[xX](\d{2,5})(?![0-9])", name)
    return (int(match[1]), int(match[2])) if match else None
