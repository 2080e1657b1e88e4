"""Two files side by side: what differs, what can't be compared, and how they are brought together."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.colours import differ_in_colour
from compressvqa.video.difference import Difference
from compressvqa.video.form import Form, agree, form_of
from compressvqa.video.info import VideoInfo
from compressvqa.video.read import probe
from compressvqa.video.sequence import files_of

# The smallest side that the networks of this package score (reflect padding of the smallest map of RankDVQA).
MIN_SIDE = 96
# Frame rates nearer than this (relative) are one rate written in two ways, such as 23.976 and 24000/1001.
SAME_RATE = 1e-3


@dataclass(frozen=True)
class Sight:
    """What a look at two files says of their comparison.

    Args:
        reference: facts of the reference, its frames counted without those that are skipped; None: there is none.
        distorted: facts of the distorted file, likewise.
        differences: everything in which they differ.
        frames: how many frames are compared; None if that is only known at the end of the files.
        hold: distorted frames shown during one reference frame, where that is not one: 1/2 shows each twice.
        form: how their pictures are compared by metrics of luma and chroma; None without a reference.
    """

    reference: VideoInfo | None
    distorted: VideoInfo
    differences: tuple[Difference, ...]
    frames: int | None
    hold: Fraction | None = None
    form: Form | None = None


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
    form = None
    if r is not None:
        r, d = agree(r, d)
        form = form_of(r, d)
    hold = None if r is None else _hold(r, d, pairing)
    differences = inspect_pair(r or d, d, pairing, smallest_side=smallest_side)
    refuse(differences, (r or d).path, d.path)
    return Sight(r, d, tuple(differences), _compared(r, d, hold, pairing), hold, form)


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

    def differs(what: str, a: object, b: object, refused: bool, hint: str = "") -> None:
        if a != b:
            found.append(Difference(what, str(a), str(b), refused, hint))

    r, d = reference, distorted
    scaled = pairing.size == "scale" and r.rotation == d.rotation
    differs("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", not scaled,
            "the distorted video is scaled to the reference's size (bicubic)" if scaled
            else "scale the distorted video to the size of the reference")  # fmt: skip
    _differ_in_time(found, r, d, pairing)
    differs("rotation", r.rotation, d.rotation, True, "store both with the same orientation")
    differs("transfer", r.transfer, d.transfer, True, "compare SDR with SDR")
    if r.transfer == d.transfer != "sdr":
        hint = "tone-map both to SDR: scores were learnt on SDR"
        found.append(Difference("transfer", r.transfer, d.transfer, True, hint))
    if min(r.width, r.height) < smallest_side:
        hint = f"both sides need {smallest_side} pixels; the reference video has {r.width}x{r.height}"
        found.append(Difference("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", True, hint))
    return found + differ_in_colour(r, d)


def _differ_in_time(found: list[Difference], r: VideoInfo, d: VideoInfo, pairing: Pairing) -> None:
    """Adds what differs in frame count and rate."""
    hold = _hold(r, d, pairing)
    if not _same_rate(r, d):
        hint = "frames are compared by number, not by time"
        if hold is not None:
            hint = "each distorted frame is held for as long as it is shown, on the reference's clock"
        refused = pairing.rate == "refuse"
        found.append(Difference("frame rate", _rate(r), _rate(d), refused,
                                "bring both to one frame rate" if refused else hint))  # fmt: skip
    if r.frames is not None and d.frames is not None:
        there = d.frames if hold is None else _held(d.frames, hold)
        enough = pairing.frames is not None and min(r.frames, there) >= pairing.frames
        if there != r.frames and not enough:
            # Held frames can end within one frame of the reference's end: that is rounding, not another length.
            rounding = hold is not None and abs(there - r.frames) <= _slack(hold)
            trim = pairing.length == "trim" and pairing.frames is None
            if not rounding:
                hint = "cut to the shorter one" if trim else "cut both to the same frames, or give a number of frames"
                found.append(Difference("frame count", str(r.frames), str(d.frames), not trim, hint))
    if r.variable_rate or d.variable_rate:
        found.append(Difference("variable frame rate", str(r.variable_rate), str(d.variable_rate), False,
                                "frames are compared by number, not by time"))  # fmt: skip


def _hold(r: VideoInfo, d: VideoInfo, pairing: Pairing) -> Fraction | None:
    """Distorted frames per reference frame where frames are held, None where they are compared by number."""
    if pairing.rate in ("number", "refuse") or _same_rate(r, d) or r.variable_rate or d.variable_rate:
        return None
    assert r.frame_rate is not None and d.frame_rate is not None
    hold = Fraction(d.frame_rate) / Fraction(r.frame_rate)
    if pairing.rate == "hold":
        return hold
    if r.frames is None or d.frames is None or r.frames == d.frames:
        return None  # as many frames, or nobody knows: the rate is likely to be a wrong note
    return hold if abs(_held(d.frames, hold) - r.frames) <= _slack(hold) else None


def _slack(hold: Fraction) -> float:
    """By how many reference frames the ends may differ: one frame of the slower video."""
    return max(1.0, float(1 / hold))


def _held(frames: int, hold: Fraction) -> int:
    """Reference frames during which so many distorted frames are shown."""
    return -(-frames * hold.denominator // hold.numerator)


def _compared(r: VideoInfo | None, d: VideoInfo, hold: Fraction | None, pairing: Pairing) -> int | None:
    there = d.frames if d.frames is None or hold is None else _held(d.frames, hold)
    counts = [there] if r is None else [there, r.frames]
    if pairing.frames is not None:
        return pairing.frames
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
    return probe(clip, count=True, whole=False)


def _facts(clip: Clip) -> VideoInfo:
    try:
        states = [
            (str(file), state.st_size, state.st_mtime_ns) for file in files_of(clip.path) for state in [file.stat()]
        ]
    except OSError:
        return probe(clip)  # says what is wrong with it
    return _probed(clip, tuple(states))


def _skipped(info: VideoInfo, skip: int) -> VideoInfo:
    return info if info.frames is None else replace(info, frames=max(0, info.frames - skip))


def _same_rate(r: VideoInfo, d: VideoInfo) -> bool:
    if r.frame_rate is None or d.frame_rate is None:
        return True
    return abs(float(r.frame_rate) - float(d.frame_rate)) <= SAME_RATE * float(r.frame_rate)


def _rate(info: VideoInfo) -> str:
    return "unknown" if info.frame_rate is None else f"{float(info.frame_rate):.3f} fps"


def refuse(differences: list[Difference], reference: Path | str, distorted: Path | str) -> None:
    """Raises for the first refused difference, naming both files and all that is refused.

    Raises:
        DataError: something in `differences` is refused.
    """
    refused = [difference for difference in differences if difference.refused]
    if refused:
        what = "; ".join(dict.fromkeys(str(difference) for difference in refused))
        raise DataError(f"can't be compared: {what}", where=f"{reference}, {distorted}", hint=refused[0].hint or None)
