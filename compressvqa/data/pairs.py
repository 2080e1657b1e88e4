"""Rank pairs: two distorted clips and which of them is better, drawn as RankDVQA is trained.

Feng et al., "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training", arXiv 2202.08595: 70 % of the pairs show
two contents, 30 % one; pairs nearer than about one just-noticeable difference (6 VMAF points) are not used. When the
order of a pair is swapped, references and label go along.

A label is one metric's word. Beyond the paper, pairs on which other labels disagree can be left out or count less,
pairs whose order is certain (`compressvqa.data.orders`) can be drawn as well, and a label can be a probability: how
many viewers would prefer the one clip, where 3 of 4 see a just-noticeable difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data.certain import Certain
from compressvqa.data.judge import Judge
from compressvqa.data.orders import Kind
from compressvqa.data.patches import PatchSet
from compressvqa.errors import DataError
from compressvqa.video.compare import MIN_SIDE
from compressvqa.video.frames import Planes

Flags: TypeAlias = npt.NDArray[np.bool_]
# A patch whose partners are all disputed is given up for another one, so often.
TRIES = 1000


class RankBatch(NamedTuple):
    """B pairs of clips.

    Clips are (B, T, 3, H, W), float32 RGB in [0, 1]. `better_a` is (B,), the probability that a is better: 1 where a
    has the higher label, else 0, or between them. A key names a clip exactly (patch, size, variant): equal keys mean
    equal pixels of reference and distorted clip. `preferred` and `weight`, (2B, 2B), say the same of any two clips,
    all a before all b: the probability that the row's is better than the column's, and how much that is to count; None
    from a data set that knows its pairs only.
    """

    reference_a: Tensor
    distorted_a: Tensor
    reference_b: Tensor
    distorted_b: Tensor
    better_a: Tensor
    keys_a: list[str]
    keys_b: list[str]
    preferred: Tensor | None = None
    weight: Tensor | None = None


class Draw(NamedTuple):
    """One batch before its pixels are read: entries of the set (``~r``: reference r), and how they fit the size."""

    a: list[int]
    b: list[int]
    size: int
    variant: int


class PairSampler:
    """Endless batches of rank pairs; each is a pure function of (seed, step), so that a resumed run goes on exactly.

    Args:
        patches: the set to draw from.
        label: which label says what is better.
        gap: pairs whose labels are nearer than this are not used.
        two_content_share: probability that a pair shows two contents; else both clips have one reference.
        swap: put either clip of a pair first with equal probability.
        batch: pairs of a batch.
        sizes: a batch's clips are square, of one of these sizes.
        variants: how many crops of each patch there are; few of them let a teacher's scores be kept and reused.
        fit: "crop" cuts the size out of a patch, at a place that the variant fixes; "resize" scales the whole patch.
        seed: another seed gives other pairs.
        flip: odd variants are mirrored left to right.
        jnd: the difference of labels that three of four viewers see: labels become probabilities. None: 0 or 1.
        agree: further labels. A pair that one of them puts the other way round is not used; one on which the
            differences agree in order but not in size counts by the ratio of the smallest to the largest.
        certain: {kind of certain order: share of the pairs that are drawn from it}; the others are drawn by label.

    Raises:
        DataError: a size that networks or patches don't allow, or no pair of a kind that is to be drawn.
    """

    def __init__(
        self,
        patches: PatchSet,
        *,
        label: str = "vmaf_v0.6.1",
        gap: float = 6.0,
        two_content_share: float = 0.7,
        swap: bool = True,
        batch: int = 8,
        sizes: tuple[int, ...] = (96,),
        variants: int = 4,
        fit: Literal["crop", "resize"] = "crop",
        seed: int = 0,
        flip: bool = False,
        jnd: float | None = None,
        agree: tuple[str, ...] = (),
        certain: Mapping[Kind, float] | None = None,
    ) -> None:
        _check_sizes(patches, sizes, fit)
        self.patches, self.gap, self.two_content_share, self.swap = patches, gap, two_content_share, swap
        self.batch, self.sizes, self.fit, self.seed, self.jnd = batch, tuple(sizes), fit, seed, jnd
        # Whole patches have two variants at most: as they are, and mirrored.
        self.variants = variants if fit == "crop" else min(variants, 2) if flip else 1
        self.flip = flip
        values = patches.label(label)
        self._rows = np.array([row for row, value in enumerate(values) if value is not None])
        self._values = np.array([value for value in values if value is not None], dtype=np.float64)
        entries = [patches.entries[row] for row in self._rows]
        self._contents = np.unique([entry.content for entry in entries], return_inverse=True)[1]
        self._references = np.array([entry.reference for entry in entries])
        # The first clip of a pair is drawn from those that have a partner at all.
        self._firsts = {two: self._with_partner(two) for two in (True, False)}
        for two, needed in ((True, two_content_share > 0), (False, two_content_share < 1)):
            if needed and not len(self._firsts[two]):
                kind = "two contents" if two else "one content"
                raise DataError(f"no pair of {kind} has {label} values {gap:g} or more apart", where=patches.folder,
                                hint="a smaller gap, more rungs, or more videos")  # fmt: skip
        self.judge = Judge(patches, (label, *agree), gap=gap, jnd=jnd, certain=tuple(certain or ()))
        self._agreed = len(agree) > 0
        self._certain = Certain(patches, self.judge.orders, dict(certain or {}))

    def batch_at(self, step: int) -> RankBatch:
        """The batch of one step; threads may ask for several at a time."""
        draw = self.draw_at(step)
        clips_a, clips_b = ([self._clip(row, draw) for row in rows] for rows in (draw.a, draw.b))
        preferred, weight = self.judge(np.array([*draw.a, *draw.b]))
        return RankBatch(
            torch.stack([clip[0] for clip in clips_a]),
            torch.stack([clip[1] for clip in clips_a]),
            torch.stack([clip[0] for clip in clips_b]),
            torch.stack([clip[1] for clip in clips_b]),
            torch.from_numpy(preferred.diagonal(len(draw.a)).copy()),
            [self._key(row, draw) for row in draw.a],
            [self._key(row, draw) for row in draw.b],
            torch.from_numpy(preferred),
            torch.from_numpy(weight),
        )

    def draw_at(self, step: int) -> Draw:
        """Which patches the batch of a step shows, without reading them."""
        rng = np.random.default_rng((self.seed, step))
        size, variant = int(rng.choice(self.sizes)), int(rng.integers(self.variants))
        pairs = [self._pair(rng) for _ in range(self.batch)]
        return Draw([a for a, _ in pairs], [b for _, b in pairs], size, variant)

    def _pair(self, rng: np.random.Generator) -> tuple[int, int]:
        pair = self._certain.pair(rng) or self._labelled(rng)
        if self.swap and rng.random() < 0.5:
            return pair[1], pair[0]
        return pair

    def _labelled(self, rng: np.random.Generator) -> tuple[int, int]:
        """Two patches whose labels say which is better."""
        for _ in range(TRIES):
            two = bool(rng.random() < self.two_content_share)
            first = int(rng.choice(self._firsts[two]))
            partners = np.flatnonzero(self._partners(first, two))
            if len(partners):
                second = int(rng.choice(partners))
                return int(self._rows[first]), int(self._rows[second])
        raise DataError(
            "the labels agree on hardly any pair", where=self.patches.folder, hint="fewer labels in `agree`"
        )

    def _partners(self, first: int, two: bool) -> Flags:
        far: Flags = np.abs(self._values - self._values[first]) >= self.gap
        allowed: Flags = self._contents != self._contents[first] if two else self._references == self._references[first]
        allowed &= far
        allowed[first] = False
        if self._agreed:
            found = np.flatnonzero(allowed)
            allowed[found] = self.judge.agreement(self._rows[first], self._rows[found]) > 0
        return allowed

    def _with_partner(self, two: bool) -> npt.NDArray[np.intp]:
        """Positions of the patches that have a partner, found from the extremes of each group."""
        group = self._contents if two else self._references
        lowest: dict[int, float] = {}
        highest: dict[int, float] = {}
        for name in np.unique(group):
            values = self._values[group == name]
            lowest[name], highest[name] = values.min(), values.max()
        kept = []
        low_two = sorted(lowest.items(), key=lambda item: item[1])[:2]
        high_two = sorted(highest.items(), key=lambda item: -item[1])[:2]
        for position, (name, value) in enumerate(zip(group, self._values, strict=True)):
            if two:  # the extremes of all other contents: the best of the two best is never its own
                low = next((v for other, v in low_two if other != name), np.inf)
                high = next((v for other, v in high_two if other != name), -np.inf)
            else:
                low, high = lowest[name], highest[name]
            if value - low >= self.gap or high - value >= self.gap:
                kept.append(position)
        return np.array(kept, dtype=np.intp)

    def _key(self, row: int, draw: Draw) -> str:
        name = self.patches.references[~row].id if row < 0 else self.patches.entries[row].id
        mirrored = "m" if self._mirrored(draw) else ""
        return f"{name}@{self.fit}{draw.size}v{draw.variant}{mirrored}"

    def _mirrored(self, draw: Draw) -> bool:
        return self.flip and draw.variant % 2 == 1

    def _clip(self, row: int, draw: Draw) -> tuple[Tensor, Tensor]:
        reference, distorted = self._fitted(row, draw)
        return (reference.flip(-1), distorted.flip(-1)) if self._mirrored(draw) else (reference, distorted)

    def _fitted(self, row: int, draw: Draw) -> tuple[Tensor, Tensor]:
        if self.fit == "resize":
            reference, distorted = self.patches.load(row)
            return _resized(reference, draw.size), _resized(distorted, draw.size)
        number = ~row if row < 0 else self.patches.entries[row].reference
        top, left = crop_place(self.patches.references[number].id, draw.variant, draw.size, self.patches.size)
        reference, distorted = self.patches.load(row, box=(top, left, draw.size, draw.size))
        return reference.to_rgb(), distorted.to_rgb()


def crop_place(name: str, variant: int, size: int, whole: int) -> tuple[int, int]:
    """(top, left), even, of a variant's crop: fixed by the reference's name, so that all its distortions share it.

    >>> all(0 <= side <= 256 - 96 and side % 2 == 0 for side in crop_place("clip/0", 3, 96, 256))
    True
    """
    digest = hashlib.sha256(f"{name}/{variant}/{size}".encode()).digest()
    room = (whole - size) // 2 + 1
    return 2 * (int.from_bytes(digest[:8], "little") % room), 2 * (int.from_bytes(digest[8:16], "little") % room)


def _resized(planes: Planes, size: int) -> Tensor:
    rgb = planes.to_rgb()
    if size == rgb.shape[-1]:
        return rgb
    return functional.interpolate(rgb, (size, size), mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)


def _check_sizes(patches: PatchSet, sizes: tuple[int, ...], fit: str) -> None:
    if not sizes:
        raise DataError("no size to train at", hint="sizes: [96]")
    for size in sizes:
        if size < MIN_SIDE or (fit == "crop" and size > patches.size):
            hint = f"{MIN_SIDE} to {patches.size}" if fit == "crop" else f"{MIN_SIDE} or more"
            whole = patches.size
            raise DataError(f"clips of {size}x{size} can't be made of patches of {whole}x{whole}", hint=hint)
