"""Do two videos show the same frames? Offsets, dropped and doubled frames, found in tiny pictures of each frame.

Each distorted frame is held against the reference frames around its own. Where another one is clearly nearer, and stays
so, the two are out of step. Clearly means by a factor: heavy compression makes every frame differ from its own, but not
less from its neighbours, and frames that are alike (a still picture, a fade to black, a clip that repeats) are near to
several and say nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compressvqa.video.frames import Planes

Array: TypeAlias = npt.NDArray[Any]

ROWS, COLUMNS = 18, 32  # cells of the tiny picture
LINES = 3  # lines of a cell that are averaged: more tell no more, and cost
MOST_SAID = 4  # places that are told one by one
REACH = 32  # frames to either side
CHUNK = 1024  # frames whose distances are worked out at once
# A squared difference of luma, in 8-bit codes, below which two cells are the same.
FLOOR = 0.02
# A neighbour must be nearer by this factor (its logarithm) before it says anything.
CLEAR = np.log(1.7)
# What a frame's being nearer to another must be worth (logarithms of factors, summed) to pay for one change of step.
CHANGE = 1.8
# More than so much no single frame says: a coder can make one look like another.
MOST = 1.5
# Of what a run's frames say, for and against, so much must be for it.
AGREED = 0.6
# A frame that repeats the one before: its error, and the motion that it lacks, are so many times the usual error of the
# frames around it.
STOPPED, AROUND = 4.0, 8
# A distorted frame that moved by less than this share of its reference's motion stands still, and has no step.
STILL = 0.25


def cells_of(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of the tiny picture of a frame."""
    return min(ROWS, max(1, height // 2)), min(COLUMNS, max(1, width // 2))


def thumbnail(planes: Planes) -> Array:
    """The luma of one frame in up to 18 x 32 cells, float32 (cells,), in 8-bit codes from black."""
    H, W = planes.size
    rows, columns = cells_of(H, W)
    high, wide = H // rows, W // columns
    inside = (2 * np.arange(LINES) + 1) * high // (2 * LINES)
    lines = (np.arange(rows)[:, None] * high + inside).ravel()
    cells = planes.y[lines, : columns * wide].reshape(rows, LINES, columns, wide)
    sums = cells.sum(axis=3, dtype=np.uint32).sum(axis=1)
    colour = planes.colour
    scale = 2.0 ** (colour.bitdepth - 8)
    mean: Array = sums.ravel().astype(np.float32) / np.float32(LINES * wide * scale)
    if not colour.full_range:
        mean = (mean - 16) * np.float32(255 / 219)
    return mean


@dataclass(frozen=True)
class Event:
    """A place where the two fall out of step.

    Args:
        kind: "offset" (from the first frame on), "dropped" (the distorted video lacks reference frames), "doubled" (it
            shows some again).
        reference: number of the first reference frame concerned.
        distorted: number of the first distorted frame concerned.
        frames: how many; an offset is positive where the distorted video begins later in the content.
    """

    kind: str
    reference: int
    distorted: int
    frames: int


class Watch:
    """Gathers tiny pictures of two videos in step, and tells where they are not.

    Args:
        reach: frames to either side that are looked at.
    """

    def __init__(self, reach: int = REACH) -> None:
        self.reach = reach
        self._reference: list[Array] = []
        self._distorted: list[Array] = []
        self._before = 0  # distorted frames whose losses are known
        self._logs: list[Array] = []
        self._losses: list[Array] = []
        self._moved: list[Array] = []  # squared differences to the frame before: of the distorted, of the reference
        self._start = 0  # number of the first picture held

    def push(self, reference: Array | None, distorted: Array | None) -> None:
        """Takes the next `thumbnail` of either; None where a video has ended."""
        if reference is not None:
            self._reference.append(reference)
        if distorted is not None:
            self._distorted.append(distorted)
        if len(self._distorted) - (self._before - self._start) >= CHUNK + self.reach:
            self._work(CHUNK)

    def _work(self, count: int) -> None:
        first = self._before - self._start
        logs, lost = losses(self._reference, self._distorted, first, count, self.reach)
        self._logs.append(logs.astype(np.float16))
        self._losses.append(lost.astype(np.float16))
        self._moved.append(np.stack([_motion(self._distorted, first, count), _motion(self._reference, first, count)]))
        self._before += count
        gone = max(0, first + count - self.reach)
        del self._reference[:gone], self._distorted[:gone]
        self._start += gone

    def offsets(self) -> Array:
        """For each distorted frame the number of the reference frame that it shows, less its own: int64 (frames,).

        A frame that repeats the one before it shows that one's.
        """
        self._finish()
        if not self._losses:
            return np.zeros(0, np.int64)
        logs = np.concatenate(self._logs).astype(np.float32)
        found = upheld(path(np.concatenate(self._losses).astype(np.float32)), logs, self.reach)
        own, other = np.concatenate(self._moved, axis=1)
        repeats = stopped(found, logs, own, other, self.reach)
        found = found - self.reach
        for number in np.flatnonzero(repeats):
            found[number] = found[number - 1] - 1
        return found

    def best_offset(self) -> int:
        """The one offset at which all frames together are nearest; 0 unless another one is clearly nearer."""
        self._finish()
        if not self._losses:
            return 0
        total = np.concatenate(self._losses).astype(np.float64).sum(axis=0)
        total += CHANGE * (np.arange(len(total)) != self.reach)
        least = np.flatnonzero(total <= total.min() + 1e-9) - self.reach
        return int(least[np.abs(least).argmin()])

    def _finish(self) -> None:
        rest = len(self._distorted) - (self._before - self._start)
        if rest > 0:
            self._work(rest)


def losses(reference: list[Array], distorted: list[Array], first: int, count: int, reach: int) -> tuple[Array, Array]:
    """How much worse than the best each offset explains each distorted frame.

    Args:
        reference: tiny pictures.
        distorted: tiny pictures, beginning with the same frame.
        first: the first distorted frame asked for.
        count: how many.
        reach: offsets -reach to reach.

    Returns:
        both (count, 2 reach + 1), float32: the logarithm of the distance at each offset; and that of the factor by
        which an offset is farther than the best one, beyond what is `CLEAR`; 0 where it is not clearly farther.
    """
    r, d = np.stack(reference).astype(np.float32), np.stack(distorted).astype(np.float32)
    both = min(len(r), len(d))
    d = _likened(r, d, both)
    apart = _apart(r, d[first : first + count], first, reach)
    best = apart.argmin(axis=1)
    least = np.take_along_axis(apart, best[:, None], axis=1)
    # What the reference moves between the best frame and each other: no more than that can be the offset's doing, the
    # rest is the coder's, which makes frames in fast motion resemble the one before.
    moved = _apart(r, r[np.minimum(np.arange(first, first + count) + best - reach, len(r) - 1)], first, reach)
    usual = FLOOR + float(np.median(least))
    worse = np.log((np.minimum(apart, least + moved) + usual) / (least + usual))
    lost = np.where(np.isfinite(worse), np.clip(worse - CLEAR, 0, MOST), MOST)
    lost[stands(r, d, first, best - reach)] = 0
    logs = np.log(np.where(np.isfinite(apart), apart, 1e6) + FLOOR)
    return logs.astype(np.float32), lost.astype(np.float32)


def stands(r: Array, d: Array, first: int, best: Array) -> Array:
    """Which distorted frames look like both neighbours though the reference moves, there or where they seem to belong.

    A coder lets pictures stand, and one that stands has no place in time.

    Args:
        r: tiny pictures of the reference.
        d: tiny pictures of the distorted video.
        first: the first distorted frame asked for.
        best: (count,), the offset at which each is nearest to the reference.

    Returns:
        (count,), bool.
    """
    here = first + np.arange(len(best))
    own, other = (np.pad(np.square(np.diff(x, axis=0)).mean(axis=1), 1) for x in (d, r))
    moves = np.maximum(own[here], own[here + 1])
    moved = np.zeros(len(best))
    for place in (here, here + best):
        there = np.clip(place, 0, len(r) - 1)
        moved = np.maximum(moved, np.maximum(other[there], other[there + 1]))
    still: Array = moves < STILL * moved
    return still


def _apart(r: Array, pictures: Array, first: int, reach: int) -> Array:
    """Mean squared differences of pictures[i] and r[first + i + offset], (count, 2 reach + 1); inf: there is none."""
    count = len(pictures)
    found = np.full((count, 2 * reach + 1), np.inf, np.float32)
    for place, offset in enumerate(range(-reach, reach + 1)):
        low, high = max(0, -offset - first), min(count, len(r) - offset - first)
        if low < high:
            apart = r[first + low + offset : first + high + offset] - pictures[low:high]
            found[low:high, place] = np.einsum("tc,tc->t", apart, apart) / r.shape[1]
    return found


def _likened(r: Array, d: Array, both: int) -> Array:
    """The distorted pictures without what all of them have: another gain, another level, a logo."""
    if both == 0:
        return d
    # Spreads and means are those of the content, whether the frames are in step or not.
    spread = float(d[:both].std())
    gain = float(r[:both].std()) / spread if spread > 1 else 1.0
    likened: Array = d * np.float32(min(2.0, max(0.5, gain)))
    likened += (r[:both] - likened[:both]).mean(axis=0)
    return likened


def path(worse: Array) -> Array:
    """The cheapest path of offsets through `losses` (Viterbi): each change of offset costs, a large one more.

    It begins at the middle offset, which is 0.

    Returns:
        (frames,) int64, indices of the second axis.
    """
    frames, count = worse.shape
    middle, everyone = count // 2, np.arange(count)
    jump = np.abs(everyone[:, None] - everyone)
    cost = np.where(jump == 0, 0, CHANGE * (1 + 0.25 * np.log2(np.maximum(1, jump)))).astype(np.float32)
    total = cost[middle].copy()
    back = np.empty((frames, count), np.int16)
    for number in range(frames):
        ways = total[:, None] + cost
        back[number] = ways.argmin(axis=0)
        total = ways[back[number], everyone] + worse[number]
    end = middle if total[middle] <= total.min() else int(total.argmin())
    found = np.empty(frames, np.int64)
    for number in range(frames - 1, -1, -1):
        found[number] = end
        end = int(back[number, end])
    return found


def stopped(found: Array, logs: Array, own: Array, other: Array, reach: int) -> Array:
    """Frames that repeat the one before while the reference moves on, bool (frames,).

    A coder repeats a picture where that costs less than its usual error. Where it costs several times that, the picture
    was repeated before it was coded.

    Args:
        found: index of each frame's offset.
        logs: logarithms of the distance at each offset.
        own: (frames,), squared differences to the frame before.
        other: (frames,), the same of the reference.
        reach: the index of offset 0.
    """
    frames = np.arange(len(found))
    error = np.exp(logs[frames, found])
    padded = np.pad(error, AROUND, mode="reflect" if len(error) > AROUND else "edge")
    usual = np.quantile(np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1), 0.8, axis=1)
    moved = other[np.clip(frames + found - reach, 0, len(other) - 1)]
    still = own < 0.1 * moved
    steady = np.concatenate([[False], np.diff(found) == 0])
    repeated: Array = still & steady & (moved > STOPPED * usual) & (error > STOPPED * usual)
    return repeated


def _motion(pictures: list[Array], first: int, count: int) -> Array:
    """Mean squared difference of each picture to the one before, (count,); 0 for the first, and where there is none."""
    found = np.zeros(count, np.float32)
    for number in range(max(1, first), min(first + count, len(pictures))):
        apart = pictures[number] - pictures[number - 1]
        found[number - first] = float(apart @ apart) / len(apart)
    return found


def upheld(found: Array, logs: Array, middle: int) -> Array:
    """A path without the runs that a part of their frames contradicts: each is held against the run before it.

    Where a run is right, every frame that tells the two apart speaks for it. Where it came from a few frames that a
    coder made resemble their neighbours, the rest is undecided.
    """
    found, before = found.copy(), middle
    edges = [0, *(np.flatnonzero(np.diff(found)) + 1), len(found)]
    for first, last in itertools.pairwise(edges):
        now = int(found[first])
        for other in {before, middle} - {now}:
            gain = logs[first:last, other] - logs[first:last, now]
            if now != middle and gain.sum() < AGREED * np.abs(gain).sum():
                found[first:last] = now = middle if other == middle else before
        before = now
    return found


def events(offsets: Array) -> Iterator[Event]:
    """What happens along a path of offsets."""
    if not len(offsets):
        return
    now = int(offsets[0])
    if now:
        yield Event("offset", max(0, now), max(0, -now), now)
    for number in np.flatnonzero(np.diff(offsets)) + 1:
        then = int(offsets[number])
        if then > now:
            yield Event("dropped", int(number) + now, int(number), then - now)
        else:
            yield Event("doubled", int(number) + then, int(number), now - then)
        now = then


def count_of(frames: int) -> str:
    """A number of frames, as it is read: "1 frame", "2 frames"."""
    return f"{frames} frame{'' if frames == 1 else 's'}"


def describe(found: Sequence[Event], skip_reference: int = 0, skip_distorted: int = 0, *, way: bool = True) -> str:
    """What a person reads of the places where two videos fall out of step, in their files' own frame numbers.

    Args:
        found: the places.
        skip_reference: frames left out at the beginning of the reference.
        skip_distorted: the same of the distorted video.
        way: whether to say what can be done about it.
    """
    said = []
    for event in found[:MOST_SAID]:
        r, d, n = event.reference + skip_reference, event.distorted + skip_distorted, abs(event.frames)
        frames = count_of(n)
        if event.kind == "offset":
            side = "later" if event.frames > 0 else "earlier"
            said.append(f"the distorted video begins {frames} {side}: its frame {d} shows frame {r} of the reference")
        elif event.kind == "dropped":
            lost = f"frame {r}" if n == 1 else f"frames {r} to {r + n - 1}"
            said.append(f"{lost} of the reference {'is' if n == 1 else 'are'} missing before distorted frame {d}")
        else:
            again = f"frame {d}" if n == 1 else f"frames {d} to {d + n - 1}"
            said.append(f"{again} of the distorted video {'repeats' if n == 1 else 'repeat'} what was shown before")
    rest = len(found) - len(said)
    more = f"; and {rest} more such places" if rest else ""
    mode = "offset" if [event.kind for event in found] == ["offset"] else "frames"
    return f"out of step: {'; '.join(said)}{more}" + (f" (--align {mode} compares like with like)" if way else "")
