"""A rectangle of a picture, and how one is written."""

from __future__ import annotations

from dataclasses import dataclass

from compressvqa.errors import DataError


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels."""

    width: int
    height: int
    left: int
    top: int

    def __str__(self) -> str:
        return f"{self.width}:{self.height}:{self.left}:{self.top}"


def read_boxes(text: str) -> tuple[Box | None, ...]:
    """One box, or the reference's and the distorted file's: ``W:H:X:Y`` or ``W:H:X:Y,W:H:X:Y``; "whole" for None.

    Raises:
        DataError: no box.

    >>> read_boxes("1920:800:0:140"), read_boxes("whole,64:48:0:8")[1]
    ((Box(width=1920, height=800, left=0, top=140),), Box(width=64, height=48, left=0, top=8))
    """
    hint = "auto, no, W:H:X:Y as ffmpeg's crop, or two of them: the reference's and the distorted file's"
    found: list[Box | None] = []
    for part in text.split(","):
        numbers = part.strip().split(":")
        if part.strip() == "whole":
            found.append(None)
            continue
        if len(numbers) != 4 or not all(number.isdecimal() for number in numbers) or min(map(int, numbers[:2])) < 1:
            raise DataError(f"{text!r} is no box to cut out", where="crop", hint=hint)
        found.append(Box(*map(int, numbers)))
    if len(found) > 2:
        raise DataError(f"{text!r} names more than two boxes", where="crop", hint=hint)
    return tuple(found)
