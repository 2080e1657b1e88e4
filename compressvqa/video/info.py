"""What is known of a video before its pictures are read, and the limits on what is read at all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from compressvqa.errors import DataError
from compressvqa.plurals import count
from compressvqa.video.frames import Chroma, Colour
from compressvqa.video.matrices import Matrix
from compressvqa.video.posture import Posture, Scan
from compressvqa.video.rgb import COLOUR as RGB_COLOUR

# Larger than any camera's frame; a damaged header can claim anything, and memory is taken by it.
MAX_SIDE = 16384
MAX_PIXELS = 1 << 26

# Their pictures say BT.601 whatever they were made of: encoders do not convert. A container that says another counts.
ONE_MATRIX = frozenset({"mjpeg", "vp8"})


@dataclass(frozen=True)
class Damage:
    """Where the frames of a file end to be whole.

    Args:
        frame: number of the first frame that is not; so many are before it.
        what: the fault, as a clause about the file.
    """

    frame: int
    what: str

    def error(self, path: Path) -> DataError:
        """The error for whoever needs this frame."""
        hint = f"--frames {self.frame} compares the {self.frame} before it, which are whole" if self.frame else None
        return DataError(self.what, where=path, hint=hint)


@dataclass(frozen=True)
class VideoInfo:
    """Facts of one video.

    Args:
        path: the file.
        codec: its codec's name, "rawvideo" for .yuv and Y4M.
        width: luma samples in a row.
        height: luma rows.
        chroma: chroma subsampling ("400" is grey; RGB counts as "444").
        colour: bit depth, matrix and range, as the file states them; pictures of RGB are handed on in 16 bits.
        frame_rate: mean frames a second, None if unknown.
        frames: number of frames that decode; where they were not counted what the header says, None if it does not.
        transfer: "pq" and "hlg" are the two HDR curves; all else is "sdr".
        variable_rate: whether the time between frames varies; None if it was not looked at.
        rotation: degrees by which a player turns the picture counter-clockwise; pictures are read as they are stored.
        times: (frames,), the moment of each frame in seconds, in order of display; None if they were not looked at or
            the file does not say.
        notes: what a user should know of the file and its frames: other streams, promises of its header that do not
            hold; filled where it was counted.
        damage: where its frames end to be whole; `frames` are those before. None: nowhere, or it was not looked at.
        mirrored: whether a player mirrors the picture left to right before it turns it.
        scan: "tff" and "bff" hold two fields a picture, the top or the bottom one first.
        pixel_aspect: width of a pixel over its height.
        matrix_stated: whether the file (or its user) says its matrix; else it is what players assume for its height.
        rgb: whether it holds R, G and B, and so no matrix of its own.
        alpha: whether it holds transparency, which is not read.
        gamut: "BT.2020" or "P3" where the file says that its primaries are those, "BT.709" where it names others (those
            of BT.601 are near them), empty where it names none.
    """

    path: Path
    codec: str
    width: int
    height: int
    chroma: Chroma
    colour: Colour
    frame_rate: Fraction | None = None
    frames: int | None = None
    transfer: Literal["sdr", "pq", "hlg"] = "sdr"
    variable_rate: bool | None = None
    rotation: int = 0
    matrix_stated: bool = True
    times: npt.NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    notes: tuple[str, ...] = ()
    damage: Damage | None = None
    rgb: bool = False
    alpha: bool = False
    gamut: str = ""
    mirrored: bool = False
    scan: Scan = "progressive"
    pixel_aspect: Fraction = Fraction(1)

    @property
    def posture(self) -> Posture:
        """How its pictures are to be shown."""
        return Posture(self.rotation, self.mirrored, self.scan, self.pixel_aspect)

    @property
    def shape(self) -> float:
        """Width of the shown picture over its height, before it is turned."""
        return float(self.width * self.pixel_aspect / self.height)

    @property
    def handed_on(self) -> Colour:
        """What the samples of its planes mean as they are read: RGB and YCgCo come as Y'CbCr of 16 bits."""
        if self.rgb:
            return RGB_COLOUR
        if self.colour.matrix == "ycgco":
            return replace(RGB_COLOUR, full_range=self.colour.full_range)
        return self.colour

    def __str__(self) -> str:
        rate = "" if self.frame_rate is None else f" {float(self.frame_rate):.4g} fps"
        frames = "" if self.frames is None else f" {count(self.frames, 'frame')}"
        kind = "RGB" if self.rgb and self.chroma != "400" else ":".join(self.chroma)
        picture = f"{self.width}x{self.height} {kind} {self.colour.bitdepth} bit"
        return f"{self.path.name}: {self.codec} {picture}{rate}{frames}"


def default_matrix(height: int) -> Matrix:
    """The matrix that players assume where a file does not say: BT.709 from 720 lines on, BT.601 below."""
    return "bt709" if height >= 720 else "bt601"


def check_size(width: int, height: int, where: object) -> None:
    """Refuses a frame size that no video has.

    Raises:
        DataError: a side is not positive, or the picture is larger than the limits of this module.
    """
    if width < 1 or height < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise DataError(f"a frame of {width}x{height} is outside the limits ({MAX_SIDE} a side)", where=where)
