"""Photographs and camera clips, and encodes of them, that native code is calibrated and checked on."""

from __future__ import annotations

import functools
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.video.frames import Planes
from compressvqa.video.read import read_frames

HERE = Path(__file__).parent
REFERENCE = "reference"
RUNGS = ("x264-30", "x264-41", "x265-36", "half-size")
CONTENTS, FRAMES = 16, 2  # how many, and frames of each


@functools.cache
def content(rung: str = REFERENCE) -> tuple[tuple[Planes, ...], ...]:
    """All contents at one rung: `CONTENTS` clips of `FRAMES` frames, 128x160, 8-bit 4:2:0.

    Args:
        rung: `REFERENCE`, or one of `RUNGS`.

    Raises:
        DataError: a file is missing, damaged, or another one.
    """
    path = HERE / f"{rung}.mp4"
    frames = list(read_frames(path, threads=1))
    if len(frames) != CONTENTS * FRAMES:
        raise DataError(
            f"has {len(frames)} frames, not {CONTENTS * FRAMES}", where=path, hint="install the package anew"
        )
    return tuple(tuple(frames[first : first + FRAMES]) for first in range(0, len(frames), FRAMES))
