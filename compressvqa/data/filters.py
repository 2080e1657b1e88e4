"""Clips distorted without a codec: noise, blur, banding and what else `compressvqa.data.distortions` can do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressvqa.data.distortions import LEVELS, distortion_named
from compressvqa.data.filming import to_planes
from compressvqa.errors import DataError
from compressvqa.video.frames import Planes, Samples, split_planes
from compressvqa.video.raw import RawFormat

# Drawn anew for each frame; a blur's direction, say, stays.
FLICKERS = frozenset({"noise"})


@dataclass(frozen=True)
class Filter:
    """One distortion at one level, the same on all frames of a clip.

    Args:
        distortion: a name of `compressvqa.data.distortions.DISTORTIONS`.
        level: 1 (barely seen) to 5 (annoying).

    Raises:
        DataError: no such distortion or level.

    >>> Filter("noise", 3).name
    'noise-3'
    """

    distortion: str
    level: int

    def __post_init__(self) -> None:
        distortion_named(self.distortion)
        if not 1 <= self.level <= LEVELS:
            raise DataError(f"there is no level {self.level} of {self.distortion!r}", hint=f"1 to {LEVELS}")

    @property
    def name(self) -> str:
        """A short name, the same for equal ones."""
        return f"{self.distortion}-{self.level}"

    @property
    def encoders(self) -> set[str]:
        """It needs no encoder of ffmpeg's."""
        return set()

    def facts(self) -> dict[str, Any]:
        """What a set of patches stores of it, by the names that an encode has."""
        return {"codec": self.distortion, "quality": self.level, "scale": 1.0}

    def coded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of the clip, which stays."""
        return height, width

    def __call__(self, samples: Samples, raw: RawFormat) -> Samples:
        """The clip distorted; a pure function, and with the same random numbers at each level.

        Args:
            samples: (frames, samples of a frame), planar 4:2:0 of 8 or 10 bit, limited range.
            raw: what they are.

        Raises:
            DataError: another format, or a library was built without the coder that the distortion needs.
        """
        if raw.pixel_format != "420" or raw.bitdepth not in (8, 10) or raw.full_range:
            raise DataError(f"{self.name} works on 4:2:0 of 8 or 10 bit in limited range")
        seed = int.from_bytes(hashlib.sha256(samples.tobytes()).digest()[:8], "little")
        function, matrix = distortion_named(self.distortion), raw.colour.matrix
        made = []
        for number, frame in enumerate(samples):
            rng = np.random.default_rng((seed, number if self.distortion in FLICKERS else 0))
            picture = split_planes(frame, raw.height, raw.width, "420", raw.colour).to_rgb()
            made.append(_flat(to_planes(function(picture, self.level, rng), raw.bitdepth, matrix)))
        return np.stack(made)


def _flat(planes: Planes) -> Samples:
    assert planes.u is not None and planes.v is not None
    flat: Samples = np.concatenate([planes.y.ravel(), planes.u.ravel(), planes.v.ravel()])
    return flat
