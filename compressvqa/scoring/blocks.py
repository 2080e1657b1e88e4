"""Scorers that see pictures: files are decoded in step, block by block, and each block is measured."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from compressvqa.errors import CompressVQAError, WeightsError
from compressvqa.progress import Progress
from compressvqa.scoring.ahead import read_ahead
from compressvqa.scoring.scorer import Course, Scorer, Segment
from compressvqa.video.align import blocks, in_parts, reading
from compressvqa.video.block import Frames
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.form import alike
from compressvqa.video.frames import Planes
from compressvqa.video.promises import believed

AHEAD_BYTES = 128 * 2**20  # of a block of all files: a larger one is not decoded beside the one before

_Numbers = tuple[Any, torch.dtype]


class Rooms:
    """Two clips that are written anew for each block, made when they are first asked for.

    Allocated each time, they leave holes that the allocator does not fill, and memory grows with the length of files.
    """

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self._shape = shape
        self._clips: dict[int, Tensor] = {}

    def clip(self, number: int) -> Tensor:
        """(1, T, 3, H, W), float32."""
        if number not in self._clips:
            self._clips[number] = torch.empty((1, *self._shape))
        return self._clips[number]


class BlockScorer(Scorer):
    """Base of scorers that measure one block of frames after the other.

    A subclass gives ``facts`` (one), `measure`, and what of the rest differs for it. The reference of a block is
    decoded and prepared once for all distorted files.

    Attributes:
        block: frames of a block.
        smallest_side: the smallest height or width that it can measure.
        knows_identical: whether its scale has a score for a block that is its own reference (see `on_scale`).
        number: of the block at hand, from 0, while it is compared.
        count: how many blocks the longest of the files at hand has; None: not known.
    """

    block: int = 12
    smallest_side: int = 1
    knows_identical: bool = False
    number: int = 0
    count: int | None = None

    def state(self) -> Any:
        """As `Scorer.state`, without where a scoring has got to."""
        return {name: held for name, held in super().state().items() if name not in ("number", "count")}

    def start(self, sights: Sequence[Sight]) -> Mapping[str, Any]:
        """Called before the first block with what is known of the files; what it returns is said with the score."""
        del sights
        return {}

    def takes(self, number: int, blocks: int | None) -> bool:
        """Whether a block is scored at all; by default every one is.

        Args:
            number: of the block, from 0.
            blocks: how many there will be; None: not known.
        """
        del number, blocks
        return True

    def sparse(self, blocks: int) -> bool:
        """Whether so few blocks are scored that the files should be read there only; by default never.

        Args:
            blocks: how many there are.
        """
        del blocks
        return False

    def prepare(self, reference: Tensor) -> Any:
        """What is worked out once for a block of the reference, (1, T, 3, H, W) in [0, 1]; by default the block.

        The tensor is written anew for the next block: keep no view of it.
        """
        return reference

    @abstractmethod
    def measure(self, prepared: Any, distorted: Tensor) -> Tensor:
        """Measures a block: (1, T, 3, H, W) in [0, 1].

        Args:
            prepared: of `prepare`; None for no-reference scorers.
            distorted: a block of a distorted file.

        Returns:
            A small tensor that is kept: one number a block, one a frame (T,), or what `pool` reads.
        """

    def compare(self, reference: Frames | None, distorted: Sequence[Frames], rooms: Rooms) -> list[Tensor]:
        """Measures one block of some files of one length, by `prepare` and `measure` on RGB.

        A subclass that can do with less than RGB of whole frames overrides this.

        Args:
            reference: frames of the reference; None for no-reference scorers.
            distorted: the same frames of each distorted file.
            rooms: memory for two clips of RGB.
        """
        prepared = None if reference is None else self.prepare(reference.rgb(out=rooms.clip(0)))
        return [self.measure(prepared, frames.rgb(out=rooms.clip(1))) for frames in distorted]

    def pool(self, parts: Sequence[Tensor]) -> float:
        """The score of a file out of what its blocks gave; by default the mean over all numbers."""
        return float(torch.cat([part.reshape(-1).double().cpu() for part in parts]).mean())

    def on_scale(self, course: Course, parts: Sequence[Tensor], same: Sequence[bool]) -> Course:
        """The course of a file on the scale that the scores are shown on; by default as measured.

        Args:
            course: as measured.
            parts: what each block gave.
            same: for each segment whether its block is its own reference.
        """
        del parts, same
        return course

    @contextmanager
    def running(self) -> Iterator[None]:
        """Entered for the time of a scoring."""
        yield

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`. Files are decoded once, or in parts; again, whole, where their packets said too much."""
        if self.facts[0].mode == "NR":
            reference = None
        with believed() as promises:
            try:
                found = self._score(reference, distorted, pairing, progress)
            except CompressVQAError:
                if not promises:
                    raise
            else:
                if promises.kept():
                    return found
        return self._score(reference, distorted, pairing, progress)

    def _score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None
    ) -> list[dict[str, Course]]:
        sights = [look(reference, clip, pairing, smallest_side=self.smallest_side) for clip in distorted]
        # Side by side are files that read the reference alike. Without one nothing is shared, and sizes may differ.
        keys = [place if sight.reference is None else reading(sight) for place, sight in enumerate(sights)]
        found: dict[int, dict[str, Course]] = {}
        for places in alike(keys):
            clips, some = [distorted[place] for place in places], [sights[place] for place in places]
            found |= zip(places, self._together(reference, clips, some, pairing, progress), strict=True)
        return [found[place] for place in range(len(distorted))]

    def _together(
        self, reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing,
        progress: Progress | None,
    ) -> list[dict[str, Course]]:  # fmt: skip
        """Files side by side, all brought to the size of the one reference."""
        facts = self.facts[0]
        # Kept as plain numbers: a small tensor that lives on between the large ones of each block pins the allocator's
        # memory around it, and memory grows with the length of the files.
        parts: list[list[_Numbers]] = [[] for _ in distorted]
        segments: list[list[Segment]] = [[] for _ in distorted]
        same: list[list[bool]] = [[] for _ in distorted]
        total = max((sight.frames for sight in sights if sight.frames is not None), default=None)
        count = self.count = None if total is None else -(-total // (self.block * pairing.subsample))
        with self.running(), torch.inference_mode():
            settings = {"block": self.block, "subsample": pairing.subsample, **self.start(sights)}
            shown = sights[0].reference or sights[0].distorted
            rooms = Rooms((self.block, 3, shown.height, shown.width))
            only = self._only(reference, distorted, sights, count)
            in_step = blocks(reference, distorted, sights, pairing, block=self.block, only=only)
            samples = shown.height * shown.width * (1 if shown.colour.bitdepth <= 8 else 2)
            small = 1.5 * samples * self.block * (1 + len(distorted)) <= AHEAD_BYTES
            for group in read_ahead(in_step) if small else in_step:
                self.number = group.first // (self.block * pairing.subsample)
                if not self.takes(self.number, count):
                    continue
                lengths = [len(frames) for frames in group.distorted]
                # A file that ends earlier has a shorter last block.
                for places in alike(lengths):
                    length = lengths[places[0]]
                    if length == 0:
                        continue
                    left = None if group.reference is None else Frames(group.reference[:length])
                    found = self.compare(left, [Frames(group.distorted[place]) for place in places], rooms)
                    for side, part in zip(places, found, strict=True):
                        parts[side].append((part.tolist(), part.dtype))
                        more = self._segments(part, group.first, length, distorted[side])
                        segments[side] += more
                        same[side] += [self._is_same(group.reference, group.distorted[side])] * len(more)
                if progress is not None:
                    progress(group.first + max(lengths), total)
                left = None
                del group  # or the next block would be read beside it: 300 MB more at 4K
        courses = []
        for side, (kept, course, clip) in enumerate(zip(parts, segments, distorted, strict=True)):
            tensors = _tensors(kept)
            value = self._finite(self.pool(tensors), "the file", clip)
            said = {**in_step.said(side), **({} if only is None else {"notes": [_in_parts(len(only), count)]})}
            measured = Course(value, tuple(course), {**settings, **said}, in_parts=only is not None)
            courses.append({facts.name: self.on_scale(measured, tensors, same[side])})
        return courses

    def _only(
        self, reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight], count: int | None
    ) -> list[int] | None:
        """The blocks that are read; None: the whole files are."""
        if count is None or not self.sparse(count) or not in_parts(reference, distorted, sights):
            return None
        return [number for number in range(count) if self.takes(number, count)]

    def _segments(self, part: Tensor, first: int, frames: int, clip: Clip) -> list[Segment]:
        """One segment a frame where the part holds a number for each, else one for the block."""
        if part.ndim == 1 and part.shape[0] == frames:
            values = [self._finite(value, f"frame {first + n}", clip) for n, value in enumerate(part.tolist())]
            return [Segment(first + n, first + n, value) for n, value in enumerate(values)]
        last = first + frames - 1
        return [Segment(first, last, self._finite(self.pool([part]), f"frames {first} to {last}", clip))]

    def _is_same(self, reference: Sequence[Planes] | None, distorted: Sequence[Planes]) -> bool:
        if not self.knows_identical or reference is None:
            return False
        # A distorted file that ends earlier has a shorter last block. The first frame tells most blocks apart.
        return all(a.shows_the_same(b) for a, b in zip(reference, distorted, strict=False))

    def _finite(self, value: float, what: str, clip: Clip) -> float:
        if not math.isfinite(value):
            name = self.facts[0].name
            raise WeightsError(f"{name} scores {what} of {clip.path} as {value}", where=self.facts[0].source,
                               hint="its weights may be damaged")  # fmt: skip
        return value


def _in_parts(taken: int, count: int | None) -> str:
    return f"read at {taken} of {count} blocks only: damage and frames out of step elsewhere were not looked for"


def _tensors(kept: Sequence[_Numbers]) -> list[Tensor]:
    return [torch.tensor(numbers, dtype=dtype) for numbers, dtype in kept]
