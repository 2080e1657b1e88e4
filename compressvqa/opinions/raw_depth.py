"""The bit depth of a headerless file, as far as its length tells it."""

from __future__ import annotations

from pathlib import Path

from compressvqa.video.frames import Chroma
from compressvqa.video.raw import RawFormat


def depth_by_length(path: Path, width: int, height: int, chroma: Chroma = "420") -> int | None:
    """8 where only 8 bit samples make whole frames.

    A frame above 8 bit has twice the bytes of one of 8 bit, so an even number of 8 bit frames could be either.

    Returns:
        8, or None where the file is missing or its length leaves it open.
    """
    if chroma == "400" or not path.is_file():
        return None
    whole = RawFormat(width, height, chroma).frame_bytes
    frames, rest = divmod(path.stat().st_size, whole)
    return 8 if rest == 0 and frames % 2 == 1 else None
