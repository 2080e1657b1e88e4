"""When each frame of a video is shown, and which frames of two videos are shown at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compressvqa.video.info import VideoInfo

Times: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[np.int64]

# Frame rates nearer than this (relative) are one rate written in two ways: 23.976, 23.98 and 24000/1001. 24 is another.
SAME_RATE = 2e-4
# Containers round time stamps to a millisecond at worst; of two frames as near as that the earlier one is shown.
ROUNDING = 0.002
# Two videos of one length end so many frames of the slower one apart: each end is rounded to a frame, and encoders that
# change the rate (`ffmpeg -r`) run up to a frame late.
ENDS = 2


@dataclass(frozen=True)
class Clock:
    """The moments at which a video's frames are shown.

    Args:
        times: (frames,), seconds from its first frame.
        step: seconds that a frame usually lasts.
        longest: seconds that the longest frame lasts, as far as time stamps tell.
        varies: whether the time between frames varies.
    """

    times: Times
    step: float
    longest: float
    varies: bool

    @property
    def duration(self) -> float:
        """Seconds until the last frame ends; how long that one lasts no time stamp says."""
        return float(self.times[-1]) + self.step


def clock_of(info: VideoInfo) -> Clock | None:
    """A video's clock; None if it tells neither rate nor time stamps, or not how many frames it has.

    A constant rate is taken as a rate and not as time stamps, which containers round.
    """
    if not info.frames:
        return None
    stamps = info.times if info.times is not None and len(info.times) == info.frames else None
    if info.variable_rate and stamps is not None and len(stamps) > 1:
        steps = np.diff(stamps)
        return Clock(stamps - stamps[0], float(np.median(steps)), float(steps.max()), True)
    if info.frame_rate is None:
        return None
    rate = info.frame_rate
    if stamps is not None and len(stamps) > 1 and stamps[-1] > stamps[0]:
        measured = (len(stamps) - 1) / float(stamps[-1] - stamps[0])
        # A mean rate that counts an odd last frame drifts away from the time stamps.
        if abs(measured / float(rate) - 1) * len(stamps) > 0.25:
            rate = Fraction(measured).limit_denominator(1001)
    times = np.arange(info.frames, dtype=np.float64) * (rate.denominator / rate.numerator)
    return Clock(times, float(1 / rate), float(1 / rate), False)


def same_rate(a: VideoInfo, b: VideoInfo) -> bool:
    """Whether two constant rates are one; an unknown rate is taken for the other's."""
    if a.frame_rate is None or b.frame_rate is None:
        return True
    return abs(float(a.frame_rate) - float(b.frame_rate)) <= SAME_RATE * float(a.frame_rate)


def same_clock(a: Clock, b: Clock) -> bool:
    """Whether two videos have as many frames, each shown within half a frame of the other's."""
    if len(a.times) != len(b.times):
        return False
    return bool(np.abs(a.times - b.times).max() <= max(ROUNDING, 0.5 * min(a.step, b.step)))


def as_long(a: Clock, b: Clock) -> bool:
    """Whether two videos end together, to two frames of the slower one (to the longest frame, where a rate varies)."""
    frames = 1 if a.varies or b.varies else ENDS
    return abs(a.duration - b.duration) <= frames * max(a.longest, b.longest) * (1 + 1e-6) + ROUNDING


def nearest(reference: Clock, distorted: Clock) -> Numbers:
    """For each reference frame the number of the distorted frame that is nearest to it in time.

    Of two that are equally near the earlier one counts: it is what a player shows. Reference frames after the end of
    the distorted video have none and are left out at the end.

    >>> def ticks(rate, frames):
    ...     return Clock(np.arange(frames) / rate, 1 / rate, 1 / rate, False)
    >>> nearest(ticks(60, 8), ticks(30, 4)).tolist(), nearest(ticks(30, 4), ticks(24, 3)).tolist()
    ([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 2])
    """
    varies = reference.varies or distorted.varies
    slack = min(ROUNDING, 0.1 * distorted.step) if varies else 1e-6 * distorted.step
    end = distorted.duration
    if varies and as_long(reference, distorted):
        end = max(end, reference.duration)  # nobody knows how long the last frame is shown
    shown = reference.times[reference.times < end - 1e-6 * distorted.step]
    middles = (distorted.times[:-1] + distorted.times[1:]) / 2
    return np.searchsorted(middles, shown - slack, side="left").astype(np.int64)


def ratio(reference: VideoInfo, distorted: VideoInfo) -> Fraction | None:
    """Distorted frames during one reference frame, where both rates are constant and known."""
    rates: tuple[Any, Any] = (reference.frame_rate, distorted.frame_rate)
    if None in rates or reference.variable_rate or distorted.variable_rate:
        return None
    return Fraction(rates[1]) / Fraction(rates[0])
