"""How a file's pictures are to be shown: turned, mirrored, in fields, of pixels that are not square."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from compressvqa.video.frames import Planes, Samples

Scan: TypeAlias = Literal["progressive", "tff", "bff"]
SCANS: dict[Scan, str] = {
    "progressive": "progressive",
    "tff": "interlaced, top field first",
    "bff": "interlaced, bottom field first",
}
# AVFieldOrder: which field is shown first. FFmpeg's comments call 4 "top coded first, bottom displayed first", but what
# it stands for in Matroska is "top displayed first", and ffmpeg writes it so. 5 likewise.
_FIRST: dict[int, Scan] = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}
# Orientation of EXIF (tag 274): degrees counter-clockwise, and whether mirrored before.
_EXIF = {1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True), 5: (90, True), 6: (-90, False), 7: (-90, True),
         8: (90, False)}  # fmt: skip


@dataclass(frozen=True)
class Posture:
    """What a player does to the stored pictures before it shows them.

    Args:
        rotation: degrees by which it turns them counter-clockwise.
        mirrored: whether it mirrors them left to right before it turns them.
        scan: whether they hold two fields each, and which was first.
        pixel_aspect: width of a pixel over its height.
        guessed: whether the file does not say which field was first; `scan` is what most files have.
    """

    rotation: int = 0
    mirrored: bool = False
    scan: Scan = "progressive"
    pixel_aspect: Fraction = Fraction(1)
    guessed: bool = False

    @property
    def quarter(self) -> bool:
        """Whether it is turned by whole quarters, as can be done without touching a sample."""
        return self.rotation % 90 == 0

    @property
    def upright(self) -> bool:
        """Whether nothing is turned and nothing mirrored."""
        return self.rotation % 360 == 0 and not self.mirrored

    @property
    def lies(self) -> bool:
        """Whether rows and columns change places."""
        return self.rotation % 180 == 90

    @property
    def title(self) -> str:
        """How it is turned, in words."""
        turns = {0: "", 90: "90 degrees counter-clockwise", 180: "by 180 degrees", 270: "90 degrees clockwise"}
        turned = turns.get(self.rotation % 360, f"by {self.rotation} degrees")
        words = (["mirrored"] if self.mirrored else []) + ([f"turned {turned}"] if turned else [])
        return " and ".join(words) or "as stored"


def posture_of(frames: list[Any], stream: Any) -> Posture:
    """What the first frames of a stream say, PyAV's, and its container."""
    rotation, mirrored = 0, False
    for data in frames[0].side_data if frames else ():
        if data.type.name == "DISPLAYMATRIX":
            rotation, mirrored = _turned(struct.unpack("<9i", bytes(data)), int(frames[0].rotation))
    fields = sum(bool(frame.interlaced_frame) for frame in frames)
    order = int(getattr(stream.codec_context, "field_order", 0) or 0)  # PyAV 17 does not tell
    scan: Scan = "progressive" if 2 * fields <= len(frames) else _FIRST.get(order, "tff")
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    guessed = scan != "progressive" and order not in _FIRST
    return Posture(rotation, mirrored, scan, Fraction(aspect) if aspect else Fraction(1), guessed)


def _turned(matrix: tuple[int, ...], degrees: int) -> tuple[int, bool]:
    """Rotation and mirroring of a display matrix: (x, y) of the stored picture goes to (a x + c y, b x + d y)."""
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if max(abs(b), abs(c)) * 100 < max(abs(a), abs(d)):
        return (0 if a > 0 else 180), mirrored
    if max(abs(a), abs(d)) * 100 < max(abs(b), abs(c)):
        return (90 if c > 0 else -90), mirrored
    return degrees, mirrored


def exif_turn(orientation: object) -> tuple[int, bool]:
    """Rotation and mirroring of EXIF's orientation, (0, False) where there is none."""
    return _EXIF.get(orientation if isinstance(orientation, int) else 1, (0, False))


def turn(planes: Planes, posture: Posture) -> Planes:
    """A picture as it is shown: whole quarters only, no sample is changed. 4:2:2 that lies must be 4:4:4 before."""
    quarters = posture.rotation % 360 // 90

    def one(plane: Samples) -> Samples:
        plane = plane[..., ::-1] if posture.mirrored else plane
        return np.ascontiguousarray(np.rot90(plane, quarters, axes=(-2, -1)))

    u, v = (None if plane is None else one(plane) for plane in (planes.u, planes.v))
    return Planes(one(planes.y), u, v, planes.chroma, planes.colour)
