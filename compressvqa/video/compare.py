"""Two files side by side: what differs, what can't be compared, and how they are brought together."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video import clock
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.clock import Numbers
from compressvqa.video.colours import differ_in_colour
from compressvqa.video.difference import Difference
from compressvqa.video.drift import count_of, describe
from compressvqa.video.form import Form, agree, form_of
from compressvqa.video.info import VideoInfo
from compressvqa.video.mend import treatments
from compressvqa.video.promises import promised
from compressvqa.video.read import probe, read_frames
from compressvqa.video.sequence import state_of
from compressvqa.video.shapes import differ_in_picture
from compressvqa.video.sides import Side
from compressvqa.video.steps import REACH, Steps, bring_in_step
from compressvqa.video.treat import AS_STORED, Treatment

# The smallest side that the networks of this package score (reflect padding of the smallest map of RankDVQA).
MIN_SIDE = 96


@dataclass(frozen=True)
class Sight:
    """What a look at two files says of their comparison.

    Args:
        reference: facts of the reference, its frames counted without those that are skipped; None: there is none.
        distorted: facts of the distorted file, likewise.
        differences: everything in which they differ.
        frames: how many frames are compared; None if that is only known at the end of the files.
        form: how their pictures are compared by metrics of luma and chroma; None without a reference.
        hold: distorted frames shown during one reference frame, where two constant rates differ and frames are compared
            by time: 1/2 shows each twice.
        shown: numbers of the reference and of the distorted frame of each step, neither ever falling; None: frame n is
            compared with frame n.
        by_time: whether `shown` comes of the files' clocks.
        treatments: what is done to the pictures of the reference and of the distorted file before they are compared.
    """

    reference: VideoInfo | None
    distorted: VideoInfo
    differences: tuple[Difference, ...]
    frames: int | None
    hold: Fraction | None = None
    form: Form | None = None
    shown: tuple[Numbers, Numbers] | None = field(default=None, compare=False, repr=False)
    by_time: bool = False
    treatments: tuple[Treatment, Treatment] = (AS_STORED, AS_STORED)

    def left(self, clip: Clip, pairing: Pairing) -> Side:
        """The reference as it is compared."""
        assert self.reference is not None
        return Side(clip, self.reference, pairing.skip_reference, self.treatments[0])

    def right(self, clip: Clip, pairing: Pairing) -> Side:
        """The distorted file as it is compared: of the reference's size."""
        r, d = self.reference, self.distorted
        same = r is None or (r.height, r.width) == (d.height, d.width)
        size = None if same or r is None else (r.height, r.width)
        return Side(clip, d, pairing.skip_distorted, self.treatments[1], size)


def look(reference: Clip | None, distorted: Clip, pairing: Pairing, *, smallest_side: int = 1) -> Sight:
    """Looks at both files before anything is scored.

    Args:
        reference: None for a no-reference score.
        distorted: the distorted file.
        pairing: how the two are brought together.
        smallest_side: the smallest height or width that can be scored.

    Raises:
        DataError: a file can't be read, or the two can't be compared.
    """
    r = None if reference is None else _skipped(_facts(reference), pairing.skip_reference)
    d = _skipped(_facts(distorted), pairing.skip_distorted)
    _refuse_damage(r, d, pairing)
    r, d, treated, said = _treated(reference, distorted, r, d, pairing)
    form = None
    if r is not None:
        r, d = agree(r, d)
        form = form_of(r, d)
    match = None if r is None else _by_time(r, d, pairing)
    differences = [*said, *inspect_pair(r or d, d, pairing, smallest_side=smallest_side)]
    refuse(differences, (r or d).path, d.path)
    if r is None or match is None:
        sight = Sight(r, d, tuple(differences), _compared(r, d, pairing), form=form, treatments=treated)
        return sight if r is None or reference is None else _aligned(sight, reference, distorted, pairing)
    count = min(len(match), pairing.frames or len(match))
    shown = np.arange(count, dtype=np.int64), match[:count]
    return Sight(r, d, tuple(differences), count, clock.ratio(r, d), form, shown, True, treated)


def _treated(
    reference: Clip | None, distorted: Clip, r: VideoInfo | None, d: VideoInfo, pairing: Pairing
) -> tuple[VideoInfo | None, VideoInfo, tuple[Treatment, Treatment], list[Difference]]:
    """What is done to each file's pictures, the facts of what comes of it, and what is to be said."""
    if r is None or reference is None:
        (one,), said = treatments([distorted], [d], [pairing.skip_distorted], pairing)
        return None, one.info(d), (one, one), said
    skips = pairing.skip_reference, pairing.skip_distorted
    (left, right), said = treatments([reference, distorted], [r, d], skips, pairing)
    return left.info(r), right.info(d), (left, right), said


def _aligned(sight: Sight, reference: Clip, distorted: Clip, pairing: Pairing) -> Sight:
    """Brings the two in step by what their pictures show, where that is asked for."""
    if pairing.align == "no" or (sight.reference and (sight.reference.frames, sight.distorted.frames) == (1, 1)):
        return sight
    states = state_of(reference.path), state_of(distorted.path)
    found = _steps(sight, reference, distorted, pairing, states)
    counts = [0 if info is None or info.frames is None else info.frames for info in (sight.reference, sight.distorted)]
    if not found.expected and pairing.frames is None and pairing.length == "refuse":
        cut = Difference("frame count", str(counts[0]), str(counts[1]), True, "cut both to the same frames")
        refuse([cut], reference.path, distorted.path)
    used = len(found.reference) if pairing.frames is None else min(pairing.frames, len(found.reference))
    sides = found.reference[:used], found.distorted[:used]
    if pairing.frames is not None:  # what comes after the last frame asked for is not left out by the alignment
        counts = [int(side[-1]) + 1 if used else 0 for side in sides]
    left = [count_of(count - used) + " left out" for count in counts]
    hint = f"aligned ({pairing.align}): the pictures of both are in step"
    if found.events:
        skips = pairing.skip_reference, pairing.skip_distorted
        hint = f"aligned ({pairing.align}), {count_of(used)} compared. Was {describe(found.events, *skips, way=False)}"
    said = Difference("alignment", left[0], left[1], False, hint)
    return replace(sight, differences=(*sight.differences, said), frames=pairing.frames or used,
                   shown=sides)  # fmt: skip


@functools.lru_cache(maxsize=256)
def _steps(sight: Sight, reference: Clip, distorted: Clip, pairing: Pairing, states: tuple[Any, ...]) -> Steps:
    """Every frame of both is decoded for it, and every score of a file asks for it."""
    del states  # only so that a file that was written anew is looked at anew
    assert pairing.align != "no"
    count = None if pairing.frames is None else pairing.frames + REACH
    sides = sight.left(reference, pairing), sight.right(distorted, pairing)
    return bring_in_step(sides[0].frames(count), sides[1].frames(count), pairing.align)


def inspect_pair(
    reference: VideoInfo, distorted: VideoInfo, pairing: Pairing | None = None, *, smallest_side: int = MIN_SIDE
) -> list[Difference]:
    """Everything in which two videos differ, what can't be compared marked as refused.

    Another bit depth, chroma, range or matrix is told and not refused: both are brought to one form. Frame counts are
    compared where both are known (``probe(path, count=True)`` counts them).

    Args:
        reference: facts of the reference.
        distorted: facts of the distorted video.
        pairing: how the two are brought together; by default `Pairing()`.
        smallest_side: the smallest height or width that can be scored.
    """
    found: list[Difference] = []
    pairing = pairing or Pairing()

    r, d = reference, distorted
    found += differ_in_picture(r, d, pairing)
    _differ_in_time(found, r, d, pairing)
    if min(r.width, r.height) < smallest_side:
        hint = f"both sides need {smallest_side} pixels; the reference video has {r.width}x{r.height}"
        found.append(Difference("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", True, hint))
    return found + differ_in_colour(r, d)


def _differ_in_time(found: list[Difference], r: VideoInfo, d: VideoInfo, pairing: Pairing) -> None:
    match = _by_time(r, d, pairing)
    varies = bool(r.variable_rate or d.variable_rate)
    a, b = clock.clock_of(r), clock.clock_of(d)
    one_by_one = a is not None and b is not None and clock.same_clock(a, b)
    hint = "frames are compared by number, not by time"
    if match is not None:
        hint = "compared by time: beside each reference frame the nearest distorted frame is held"
    elif r.frames is not None and r.frames == d.frames:
        hint = "as many frames in both: compared by number, not by time"
    refused = pairing.rate == "refuse" and not (varies and one_by_one)
    if varies or not clock.same_rate(r, d):
        found.append(Difference("variable frame rate" if varies else "frame rate", _rate(r), _rate(d), refused,
                                "bring both to one frame rate" if refused else hint))  # fmt: skip
    if pairing.align != "no" and match is not None:
        hint = "frames are aligned by number, and these are compared by time: --rate number, or no --align"
        found.append(Difference("frame rate", _rate(r), _rate(d), True, hint))
    if pairing.rate == "hold" and (a is None or b is None) and (r.frames, d.frames) != (1, 1):
        hint = "a rate is needed to go by time; --rate number compares by number"
        found.append(Difference("frame rate", _rate(r), _rate(d), True, hint))
    if r.frames is None or d.frames is None or (match is not None and a and b and clock.as_long(a, b)):
        return
    there = d.frames if match is None else len(match)
    enough = pairing.frames is not None and min(r.frames, there) >= pairing.frames
    if (r.frames != d.frames or there != r.frames) and not enough and (match is not None or pairing.align == "no"):
        trim = pairing.length == "trim" and pairing.frames is None
        hint = "cut both to the same frames, or give a number of frames (--align frames finds what one of them lacks)"
        if match is not None:
            hint = "they are compared by time: cut both to one length, or --length trim"
        hint = "cut to the shorter one" if trim else hint
        found.append(Difference("frame count", str(r.frames), str(d.frames), not trim, hint))


def _by_time(r: VideoInfo, d: VideoInfo, pairing: Pairing) -> Numbers | None:
    """The distorted frame beside each reference frame where they are compared by time, None where by number."""
    a, b = clock.clock_of(r), clock.clock_of(d)
    if a is None or b is None or pairing.rate in ("number", "refuse"):
        return None
    if clock.same_clock(a, b) if a.varies or b.varies else clock.same_rate(r, d):
        return None
    # As many frames at two constant rates: one of the rates is likely to be a wrong note.
    noted_wrong = r.frames == d.frames and not (a.varies or b.varies)
    if pairing.rate == "auto" and (noted_wrong or not clock.as_long(a, b)):
        return None
    return clock.nearest(a, b)


def _compared(r: VideoInfo | None, d: VideoInfo, pairing: Pairing) -> int | None:
    """How many frames are compared by number."""
    if pairing.frames is not None:
        return pairing.frames
    counts = [d.frames] if r is None else [d.frames, r.frames]
    return None if any(count is None for count in counts) else min(count for count in counts if count is not None)


def _refuse_damage(r: VideoInfo | None, d: VideoInfo, pairing: Pairing) -> None:
    """A damaged file is compared up to its damage, if so many frames are asked for and no more."""
    for info, skip in ((r, pairing.skip_reference), (d, pairing.skip_distorted)):
        if info is None or info.damage is None:
            continue
        needed = math.inf if pairing.frames is None else float(pairing.frames)
        if info is d and r is not None and r.frame_rate and d.frame_rate:
            # Where it runs faster more of its frames are looked at.
            needed *= max(1.0, float(d.frame_rate) / float(r.frame_rate))
        if skip + needed > info.damage.frame:
            raise info.damage.error(info.path)


@functools.lru_cache(maxsize=4096)
def _probed(clip: Clip, states: tuple[tuple[str, int, int], ...]) -> VideoInfo:
    """Counting frames decodes a whole file, and every score of a file asks for them."""
    del states  # only so that a file that was written anew is read anew
    info = probe(clip, count=True, whole=False)
    if info.frames is None:  # a Y4M file with tags in its frames' headers
        info = replace(info, frames=sum(1 for _ in read_frames(clip)))
    return info


def _facts(clip: Clip) -> VideoInfo:
    try:
        state = state_of(clip.path)
    except OSError:
        return probe(clip)  # says what is wrong with it
    if promised(clip.path, clip.stream) is not None:
        return probe(clip, count=True)  # not kept: what is only promised is no fact
    return _probed(clip, state)


def _skipped(info: VideoInfo, skip: int) -> VideoInfo:
    if info.frames is None or skip == 0:
        return info
    times = None if info.times is None else info.times[skip:]
    return replace(info, frames=max(0, info.frames - skip), times=times)


def _rate(info: VideoInfo) -> str:
    rate = "unknown" if info.frame_rate is None else f"{float(info.frame_rate):.3f} fps"
    return f"varies, {rate} on average" if info.variable_rate else rate


def refuse(differences: list[Difference], reference: Path | str, distorted: Path | str) -> None:
    """Raises for the first refused difference, naming both files and all that is refused.

    Raises:
        DataError: something in `differences` is refused.
    """
    refused = [difference for difference in differences if difference.refused]
    if refused:
        what = "; ".join(dict.fromkeys(str(difference) for difference in refused))
        raise DataError(f"can't be compared: {what}", where=f"{reference}, {distorted}", hint=refused[0].hint or None)
