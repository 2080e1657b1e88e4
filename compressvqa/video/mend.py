"""What is done to the pictures of two files before they are compared, as the pairing asks for, and how it is said."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from compressvqa.errors import DataError
from compressvqa.video.bars import alike, find_picture
from compressvqa.video.box import Box, read_boxes
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.difference import Difference
from compressvqa.video.frames import Planes
from compressvqa.video.info import VideoInfo
from compressvqa.video.posture import SCANS
from compressvqa.video.read import read_frames
from compressvqa.video.sequence import state_of
from compressvqa.video.treat import Treatment

# Frames in which bars are looked for: every sixth of the first so many.
EVERY, MOST = 6, 1800


def treatments(
    clips: Sequence[Clip], infos: Sequence[VideoInfo], skips: Sequence[int], pairing: Pairing
) -> tuple[list[Treatment], list[Difference]]:
    """What is done to each file of a comparison.

    Args:
        clips: the reference and the distorted file, or the latter alone.
        infos: their facts.
        skips: frames left out at the beginning of each.
        pairing: what is asked for.

    Returns:
        a treatment a file, and what is to be said of them.

    Raises:
        DataError: a box that leaves a picture.
    """
    found = [Treatment() for _ in clips]
    said: list[Difference] = []
    if pairing.deinterlace:
        found = [replace(one, fields=info.scan) for one, info in zip(found, infos, strict=True)]
        scans = [SCANS[info.scan] for info in infos]
        done = any(one.fields != "progressive" for one in found)
        hint = "deinterlaced by bwdif, one picture a frame" if done else "nothing to deinterlace"
        said.append(Difference("scan", scans[0], scans[-1], False, hint))
    if pairing.rotate == "auto":
        turned = [info.posture if info.posture.quarter and not info.posture.upright else None for info in infos]
        found = [replace(one, posture=posture) for one, posture in zip(found, turned, strict=True)]
        if any(turned):
            titles = [info.posture.title for info in infos]
            said.append(Difference("rotation", titles[0], titles[-1], False, "shown upright, as the files say"))
    if pairing.crop != "no":
        said.append(_cut(found, clips, infos, skips, pairing))
    return found, said


def _cut(
    found: list[Treatment], clips: Sequence[Clip], infos: Sequence[VideoInfo], skips: Sequence[int], pairing: Pairing
) -> Difference:
    shown = [one.info(info) for one, info in zip(found, infos, strict=True)]
    sizes = [(info.width, info.height) for info in shown]
    boxes: list[Box | None]
    if pairing.crop == "auto":
        wholes = [Box(*size, 0, 0) for size in sizes]
        seen = [
            _picture(clip, one, skip, pairing.frames, state_of(clip.path)) or whole
            for clip, one, skip, whole in zip(clips, found, skips, wholes, strict=True)
        ]
        if len(seen) == 2:
            seen = list(alike(seen[0], seen[1], (sizes[0], sizes[1])))
        boxes = [None if box == whole else box for box, whole in zip(seen, wholes, strict=True)]
        hint = "black bars are cut off" if any(boxes) else "no black bars were found: nothing is cut off"
    else:
        boxes, hint = _asked(found, sizes, pairing.crop), "cut out as asked"
    for place, (box, clip, size) in enumerate(zip(boxes, clips, sizes, strict=True)):
        found[place] = replace(found[place], box=box)
        width, height = size if found[place].size is None else found[place].size[::-1]  # type: ignore[index]
        if box is not None and (box.left + box.width > width or box.top + box.height > height):
            raise DataError(f"the box {box} leaves a picture of {width}x{height}", where=clip.path, hint="crop W:H:X:Y")
    texts = ["the whole picture" if box is None else str(box) for box in boxes]
    return Difference("crop", texts[0], texts[-1], False, hint)


def _asked(found: list[Treatment], sizes: Sequence[tuple[int, int]], text: str) -> list[Box | None]:
    """The box of each file. One box is in the reference's pixels, unless one file is as large as the box already."""
    boxes = list(read_boxes(text))
    if len(sizes) == 1:
        return boxes[-1:]
    if len(boxes) == 2:
        return boxes
    box = boxes[0]
    if box is None or sizes[0] == sizes[1]:
        return [box, box]
    wanted = box.width, box.height
    if wanted in sizes:
        return [None if size == wanted else box for size in sizes]
    found[1] = replace(found[1], size=sizes[0][::-1])
    return [box, box]


@functools.lru_cache(maxsize=1024)
def _picture(clip: Clip, treatment: Treatment, skip: int, count: int | None, state: Hashable) -> Box | None:
    """Where the picture lies within black bars. Looking reads the file, and every score of a file asks for it."""
    del state  # only so that a file that was written anew is looked at anew
    frames: Iterator[Planes] = read_frames(clip, start=skip, stop=skip + min(count or MOST, MOST))
    plain = replace(treatment, fields="progressive")  # fields are black where whole pictures are
    return find_picture(itertools.islice(plain.frames(frames), 0, None, EVERY))
