"""One number out of the scores of frames: mean, harmonic mean, percentiles, ..., of a file or of each part of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from compressvqa.errors import DataError
from compressvqa.scoring.scorer import Course, Segment

# What libvmaf's logs hold, in their order.
LIBVMAF = ("min", "max", "mean", "harmonic_mean")
_NAMES = {"mean": "mean", "average": "mean", "harmonic": "harmonic_mean", "harmonic_mean": "harmonic_mean",
          "min": "min", "max": "max", "median": "median"}  # fmt: skip
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d+)?)")


def parse_pools(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of poolings as users write them, several with commas between; each once.

    >>> parse_pools(["p5,mean", "harmonic", "p05"])
    ('p5', 'mean', 'harmonic_mean')

    Raises:
        DataError: there is no such pooling.
    """
    return tuple(dict.fromkeys(_parse(word.strip()) for text in texts for word in text.split(",")))


def one_pool(text: str) -> str:
    """The name of a pooling, where there is room for one.

    Raises:
        DataError: there is no such pooling, or there are several.
    """
    names = parse_pools([text])
    if len(names) > 1:
        raise DataError(f"metrics are judged by one score a file, and {text} are {len(names)}", where="--pool")
    return names[0]


def _parse(word: str) -> str:
    name = word.lower()
    if name in _NAMES:
        return _NAMES[name]
    found = _PERCENTILE.fullmatch(name)
    if found is None or float(found[1]) > 100:
        raise DataError(f"there is no pooling {word!r}", where="--pool",
                        hint="mean, harmonic, min, max, median, or a percentile: p5, p99.9")  # fmt: skip
    return f"p{float(found[1]):g}"


def pool_by(name: str, scores: Sequence[float]) -> float | None:
    """One number out of several.

    Args:
        name: as `parse_pools` gives it. A percentile lies between two scores where numpy puts it (linear).
        scores: at least one.

    Returns:
        The number; None for a harmonic mean of scores that are not all positive. The harmonic mean is that of
        libvmaf, n / sum(1 / (x + 1)) - 1: the 1 keeps it away from a division by zero, and it differs little from the
        mean where scores are below 1.

    >>> pool_by("p25", [1.0, 2.0, 3.0]), pool_by("harmonic_mean", [1.0, 3.0]), pool_by("harmonic_mean", [-1.0, 3.0])
    (1.5, 1.6666666666666665, None)
    """
    if name == "min":
        return min(scores)
    if name == "max":
        return max(scores)
    if name == "mean":
        return math.fsum(scores) / len(scores)
    if name == "median":
        return float(np.median(scores))
    if name == "harmonic_mean":
        positive = min(scores) > 0
        return len(scores) / math.fsum(1 / (x + 1) for x in scores) - 1 if positive else None
    return float(np.percentile(scores, float(name[1:])))


def pool(scores: Sequence[float], more: Sequence[str] = ()) -> dict[str, float | None]:
    """Min, max, mean and harmonic mean as libvmaf's logs hold them, and further poolings; see `pool_by`.

    >>> pool([1.0, 3.0], ["p5"])
    {'min': 1.0, 'max': 3.0, 'mean': 2.0, 'harmonic_mean': 1.6666666666666665, 'p5': 1.1}
    """
    return {name: pool_by(name, scores) if scores else None for name in dict.fromkeys([*LIBVMAF, *more])}


def pooled_score(course: Course, name: str | None, *, metric: str, where: object) -> float:
    """The score of a file by a pooling over its frames or blocks; by default as its scorer pools.

    Raises:
        DataError: the score is one number for the whole file, or the pooling is not defined for its scores.
    """
    if name is None:
        return course.score
    if not course.segments:
        raise DataError(f"{metric} is one number a file: there are no frames to pool by {name}", where=where,
                        hint="leave --pool out, or give logs that hold frames")  # fmt: skip
    value = pool_by(name, [part.score for part in course.segments])
    if value is None:
        raise DataError(f"the harmonic mean of {metric} is of positive scores only, and some are not", where=where,
                        hint="another pooling, such as p5 or mean")  # fmt: skip
    return value


@dataclass(frozen=True)
class Part:
    """The scores of one stretch of a file.

    Args:
        first_frame: number of its first frame.
        last_frame: number of its last frame.
        scores: those of its frames or blocks.
    """

    first_frame: int
    last_frame: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Length:
    """How long the stretches are that a file is cut into: so many frames, or so many seconds.

    Args:
        frames: frames of a stretch.
        seconds: its seconds, where it is not counted in frames.
    """

    frames: int | None = None
    seconds: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> Length:
        """As users write it: "frame", "second", "12" (frames), "0.5s".

        Raises:
            DataError: it is none of these.
        """
        words = {"frame": cls(1), "second": cls(seconds=Fraction(1))}
        found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)s", text)
        made = words.get(text)
        if made is None and found is not None:
            made = cls(int(found[1])) if found[1] else cls(seconds=Fraction(found[2]))
        if made is None or made.frames == 0 or made.seconds == 0:
            raise DataError(f"there is no length {text!r}", where="--per",
                            hint="frame, second, a number of frames (24) or of seconds (0.5s)")  # fmt: skip
        return made

    def number(self, frame: int, rate: Fraction | None) -> int:
        """Which stretch a frame belongs to: frames that begin in the k-th second belong to stretch k."""
        if self.frames is not None:
            return frame // self.frames
        assert self.seconds is not None
        if rate is None:
            raise DataError("the frame rate is not known, so seconds can't be told apart", where="--per",
                            hint="a number of frames")  # fmt: skip
        return math.floor(frame / rate / self.seconds)


def parts(segments: Sequence[Segment], length: Length, rate: Fraction | None) -> list[Part]:
    """Scores of a file, stretch by stretch. A block that was scored as one belongs to the stretch that it begins in.

    >>> frames = [Segment(n, n, float(n)) for n in range(5)]
    >>> [(part.first_frame, part.last_frame, part.scores) for part in parts(frames, Length(2), None)]
    [(0, 1, (0.0, 1.0)), (2, 3, (2.0, 3.0)), (4, 4, (4.0,))]

    Raises:
        DataError: seconds are asked for and the rate is not known.
    """
    held: dict[int, list[Segment]] = {}
    for segment in segments:
        held.setdefault(length.number(segment.first_frame, rate), []).append(segment)
    return [Part(some[0].first_frame, some[-1].last_frame, tuple(one.score for one in some)) for some in held.values()]
