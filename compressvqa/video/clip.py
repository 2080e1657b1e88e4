"""One file to be scored, and how two of them are brought together."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from compressvqa.errors import DataError
from compressvqa.video.box import read_boxes
from compressvqa.video.raw import RawFormat


@dataclass(frozen=True)
class Clip:
    """A video or image file.

    Args:
        path: a local file; a folder of numbered pictures, or a name for them (``frame_%04d.png``), is one video.
        raw: what a headerless .yuv file holds; None for every other file.
        stream: which of a file's video streams, counted from 0; None: the one that a player would show.
        frame_rate: frames a second of what does not say its own: numbered pictures, headerless files.
    """

    path: Path
    raw: RawFormat | None = None
    stream: int | None = None
    frame_rate: Fraction | None = None


@dataclass(frozen=True)
class Pairing:
    """How a distorted file is brought together with its reference. What was done is said with the score.

    Args:
        frames: compare so many frames only; both files may then be longer.
        subsample: score every n-th block of frames only.
        skip_reference: frames left out at the beginning of the reference.
        skip_distorted: frames left out at the beginning of the distorted file.
        size: "scale" brings a distorted picture of another size to the reference's (bicubic); "refuse" does not.
        rate: where frame rates differ, or vary, "hold" compares by time: beside each reference frame the nearest
            distorted frame is held; "number" compares frame 0 with frame 0, 1 with 1, ...; "refuse" does neither.
            "auto" goes by time where the two last equally long and have different numbers of frames or a rate that
            varies, else by number.
        length: where one file is longer, "refuse", or "trim" to the shorter one.
        align: brings files in step that do not begin with the same frame, or of which one lacks or repeats frames, by
            what their pictures show: "offset" takes out one offset of up to 64 frames; "frames" leaves out, too, what
            was dropped and what was doubled; "no" does neither, and says where they are out of step.
        deinterlace: makes whole pictures of files that say that theirs are two fields (ffmpeg's bwdif, one a frame).
        rotate: "auto" turns and mirrors pictures as their files say that players do; "no" compares them as stored and
            refuses those that are stored differently.
        crop: "auto" cuts off black bars, "no" nothing; ``W:H:X:Y`` (as ffmpeg's crop) is cut out of both, in the
            reference's pixels, or of the one file that is not of this size yet; two boxes with a comma between them are
            the reference's and the distorted file's ("whole": all of it).
        hdr: "as-is" compares the coded values of two PQ or two HLG files; "refuse" does not: scores were learnt on SDR.

    Raises:
        DataError: a number below its least, or a box that is none.
    """

    frames: int | None = None
    subsample: int = 1
    skip_reference: int = 0
    skip_distorted: int = 0
    size: Literal["scale", "refuse"] = "scale"
    rate: Literal["auto", "hold", "number", "refuse"] = "auto"
    length: Literal["refuse", "trim"] = "refuse"
    align: Literal["no", "offset", "frames"] = "no"
    deinterlace: bool = False
    rotate: Literal["no", "auto"] = "no"
    crop: str = "no"
    hdr: Literal["refuse", "as-is"] = "refuse"

    def __post_init__(self) -> None:
        if self.subsample < 1 or (self.frames is not None and self.frames < 1):
            raise DataError(f"frames {self.frames} and subsample {self.subsample} must be 1 or more")
        if min(self.skip_reference, self.skip_distorted) < 0:
            raise DataError("the number of frames to skip can't be negative")
        if self.crop not in ("no", "auto"):
            read_boxes(self.crop)
