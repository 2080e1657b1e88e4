"""Two videos side by side: do they fit together, and their frames in step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from compressvqa.data.frames import Planes
from compressvqa.data.info import VideoInfo
from compressvqa.data.raw import RawFormat
from compressvqa.data.video import read_frames
from compressvqa.errors import DataError

# The smallest side that the networks of this package score (reflect padding of the smallest map of RankDVQA).
MIN_SIDE = 96
# Frame rates nearer than this (relative) are one rate written in two ways, such as 23.976 and 24000/1001.
SAME_RATE = 1e-3


@dataclass(frozen=True)
class Difference:
    """One thing in which two videos differ.

    Args:
        what: the property.
        reference: its value in the reference video.
        distorted: its value in the distorted video.
        refused: whether a score of the two would mean nothing.
        hint: what to do about it.
    """

    what: str
    reference: str
    distorted: str
    refused: bool
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.reference} (reference) and {self.distorted} (distorted)"


def inspect_pair(reference: VideoInfo, distorted: VideoInfo, *, frames: int | None = None) -> list[Difference]:
    """Everything in which two videos differ, what can't be compared marked as refused.

    A different bit depth, chroma or range is told and not refused: both are brought to RGB in [0, 1]. Frame counts
    are compared where both are known (``probe(path, count=True)`` counts them).

    Args:
        reference: facts of the reference.
        distorted: facts of the distorted video.
        frames: how many frames are to be compared; with it, both need only that many.
    """
    found: list[Difference] = []

    def differs(what: str, a: object, b: object, refused: bool, hint: str = "") -> None:
        if a != b:
            found.append(Difference(what, str(a), str(b), refused, hint))

    r, d = reference, distorted
    differs("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", True,
            "scale the distorted video to the size of the reference")  # fmt: skip
    if r.frames is not None and d.frames is not None and (frames is None or min(r.frames, d.frames) < frames):
        differs("frame count", r.frames, d.frames, True, "cut both to the same frames, or give a number of frames")
    differs("rotation", r.rotation, d.rotation, True, "store both with the same orientation")
    differs("transfer", r.transfer, d.transfer, True, "compare SDR with SDR")
    if r.transfer == d.transfer != "sdr":
        hint = "tone-map both to SDR: scores were learnt on SDR"
        found.append(Difference("transfer", r.transfer, d.transfer, True, hint))
    for info, side in ((r, "reference"), (d, "distorted")):
        if min(info.width, info.height) < MIN_SIDE:
            size = f"{info.width}x{info.height}"
            hint = f"both sides need {MIN_SIDE} pixels; the {side} video has {size}"
            found.append(Difference("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", True, hint))
            break
    if not _same_rate(r, d):
        differs("frame rate", _rate(r), _rate(d), False, "frames are compared by number, not by time")
    if r.variable_rate or d.variable_rate:
        found.append(Difference("variable frame rate", str(r.variable_rate), str(d.variable_rate), False,
                                "frames are compared by number, not by time"))  # fmt: skip
    differs("bit depth", r.colour.bitdepth, d.colour.bitdepth, False)
    differs("chroma", ":".join(r.chroma), ":".join(d.chroma), False)
    differs("range", _range(r), _range(d), False, "both are brought to RGB in [0, 1] by what each file says")
    differs("matrix", r.colour.matrix, d.colour.matrix, False, "both are brought to RGB by what each file says")
    return found


def _same_rate(r: VideoInfo, d: VideoInfo) -> bool:
    if r.frame_rate is None or d.frame_rate is None:
        return True
    return abs(float(r.frame_rate) - float(d.frame_rate)) <= SAME_RATE * float(r.frame_rate)


def _rate(info: VideoInfo) -> str:
    return "unknown" if info.frame_rate is None else f"{float(info.frame_rate):.3f} fps"


def _range(info: VideoInfo) -> str:
    return "full" if info.colour.full_range else "limited"


def refuse(differences: list[Difference], reference: Path | str, distorted: Path | str) -> None:
    """Raises for the first refused difference, naming both files and all that is refused.

    Raises:
        DataError: something in `differences` is refused.
    """
    refused = [difference for difference in differences if difference.refused]
    if refused:
        what = "; ".join(dict.fromkeys(str(difference) for difference in refused))
        raise DataError(f"can't be compared: {what}", where=f"{reference}, {distorted}", hint=refused[0].hint or None)


def paired_blocks(
    reference: str | Path,
    distorted: str | Path,
    *,
    block: int = 12,
    subsample: int = 1,
    frames: int | None = None,
    skip_reference: int = 0,
    skip_distorted: int = 0,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of consecutive frames of two videos, in step; only one block is held in memory.

    Args:
        reference: the reference video.
        distorted: the distorted video.
        block: frames of a block; the last one may be shorter.
        subsample: 1 hands out every block, n every n-th one. Whole blocks are left out, not single frames, so that
            motion inside a block is as the network learnt it.
        frames: end after so many frames; None: the end of both files.
        skip_reference: frames left out at the beginning of the reference.
        skip_distorted: frames left out at the beginning of the distorted video.
        raw: what a headerless .yuv reference holds (and the distorted file too, unless `raw_distorted` is given).
        raw_distorted: what a headerless .yuv distorted file holds.

    Yields:
        (reference, distorted), each (1, T, 3, H, W), float32 in [0, 1], T <= block.

    Raises:
        DataError: a file can't be read, sizes differ, or one video ends before the other.
    """
    if min(block, subsample) < 1 or min(skip_reference, skip_distorted) < 0 or (frames is not None and frames < 1):
        raise DataError(f"block {block}, subsample {subsample}, frames {frames}: these are positive whole numbers")
    stop_r = None if frames is None else skip_reference + frames
    stop_d = None if frames is None else skip_distorted + frames
    left = read_frames(reference, start=skip_reference, stop=stop_r, raw=raw)
    right = read_frames(distorted, start=skip_distorted, stop=stop_d, raw=raw_distorted or raw)
    held: list[tuple[Planes, Planes]] = []  # as planes: an eighth of what RGB takes
    number = 0
    for r, d in itertools.zip_longest(left, right):
        if r is None or d is None:
            short = reference if r is None else distorted
            raise DataError(f"ends after {number} frames and the other video goes on", where=short,
                            hint="cut both to the same frames, or give a number of frames")  # fmt: skip
        _same_size(r, d, reference, distorted)
        if (number // block) % subsample == 0:
            held.append((r, d))
        number += 1
        if held and number % block == 0:
            yield _stacked(held)
            held = []
    if held:
        yield _stacked(held)
    if number == 0:
        raise DataError(f"no frame is left after skipping {skip_reference} and {skip_distorted}", where=reference)
    if frames is not None and number < frames:
        raise DataError(f"has {number} frames, {frames} were asked for", where=reference)


def _same_size(r: Planes, d: Planes, reference: str | Path, distorted: str | Path) -> None:
    if r.size != d.size:
        (h, w), (dh, dw) = r.size, d.size
        what = f"frames of {w}x{h} can't be compared with frames of {dw}x{dh}"
        hint = "scale the distorted video to the size of the reference"
        raise DataError(what, where=f"{reference}, {distorted}", hint=hint)


def _stacked(held: list[tuple[Planes, Planes]]) -> tuple[Tensor, Tensor]:
    clips = torch.empty((2, 1, len(held), 3, *held[0][0].size))
    for number, pair in enumerate(held):
        for side, planes in enumerate(pair):
            planes.to_rgb(out=clips[side, 0, number])
    return clips[0], clips[1]
