"""Clips with their opinion scores whose frames are kept on disk, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressvqa.data.kept import Bytes, Cut, contents, digest, in_turn, kept, random_cut, to_values
from compressvqa.data.scored import ScoredBatch
from compressvqa.errors import DataError
from compressvqa.labels import canonical_label, label_title
from compressvqa.opinions import Item, Manifest

PREFIX = "clip-"  # of the names of kept files


@dataclass(frozen=True)
class KeptClips:
    """The clips of one part, their sampled frames on disk; nothing is decoded any more.

    Args:
        folder: where the files lie.
        files: a file for each item: uint8, (sides, samples, frames, 3, H, W); two sides are reference and distorted.
        manifest: the data set.
        items: those of its items that belong to the part.
        mean: of the training part's opinion scores, turned so that higher is better.
        deviation: standard deviation of the training part's opinion scores.
        settings: how frames were sampled and sized, for reports.
    """

    folder: Path
    files: tuple[str, ...]
    manifest: Manifest
    items: tuple[Item, ...]
    mean: float
    deviation: float
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """(n,) opinion scores as the data set gives them, turned (by their sign) so that higher is better."""
        return turned(self.manifest, self.items)

    @property
    def opinions(self) -> npt.NDArray[np.float64]:
        """(n,) opinion scores, higher better, in standard deviations about the mean of the training part."""
        found: npt.NDArray[np.float64] = (self.values - self.mean) / (self.deviation if self.deviation > 0 else 1.0)
        return found

    def pixels(self, index: int) -> Bytes:
        """The frames of a clip, mapped: (sides, samples, frames, 3, H, W).

        Raises:
            DataError: the file is gone or damaged.
        """
        return kept(self.folder / self.files[index])

    def key(self, index: int, sample: int, cut: Cut) -> str:
        """A name of what is seen of a clip; it changes with the file, and with how its frames were kept."""
        stem = Path(self.files[index]).stem.removeprefix(PREFIX)
        return f"{self.manifest.name}/{self.items[index].distorted}#{stem}.{sample}@{cut}"

    def check_side(self, index: int, side: int | None, size: tuple[int, int]) -> None:
        """Refuses a square that a clip has no room for.

        Raises:
            DataError: the clip is smaller.
        """
        if side is not None and min(size) < side:
            height, width = size
            raise DataError(f"is kept at {width}x{height}, which is smaller than {side} pixels",
                            where=self.manifest.distorted(self.items[index]).path,
                            hint="a smaller data.crop, or a larger data.resize")  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """What the part holds, as plain values."""
        return part_summary(self.manifest, self.items, self.identity, self.settings)

    @cached_property
    def identity(self) -> str:
        """Changes with the frames, the opinion scores and how both are looked at."""
        shown = [[item.distorted, item.mos] for item in self.items]
        return digest(self.manifest.name, shown, contents(self.folder, self.files), self.settings)


def part_summary(manifest: Manifest, items: Sequence[Item], identity: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a part of a set of opinion scores holds, as plain values."""
    values = [item.mos for item in items]
    low, middle, high = (float(value) for value in np.percentile(values, [0, 50, 100]))
    spread = {"lowest": low, "median": middle, "highest": high, "histogram": np.histogram(values, 10)[0].tolist()}
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "label": manifest.label,
        "contents": len({item.scene for item in items}),
        "clips": len(items),
        **settings,
        "labels": {manifest.label: spread},
        "notes": list(manifest.notes),
        "identity": identity,
    }


class ClipSampler:
    """Endless batches of clips, each clip once before any comes again; each is a pure function of (seed, step).

    Args:
        clips: the clips to draw from.
        batch: clips of a batch.
        crop: side of the square that is cut out; None: whole frames, which must be of one size.
        flip: whether half of the squares are mirrored.
        variants: how many random squares of a sample there are.
        seed: another seed gives another order.

    Raises:
        DataError: all opinion scores are equal.
    """

    def __init__(
        self, clips: KeptClips, *, batch: int = 8, crop: int | None = 224, flip: bool = True, variants: int = 8,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.clips, self.batch, self.crop, self.flip, self.variants = clips, batch, crop, flip, variants
        self.seed, self._opinions = seed, clips.opinions
        if np.ptp(self._opinions) == 0:
            raise DataError("all scores are equal: there is nothing to learn", where=clips.manifest.folder)

    def draw_at(self, step: int) -> list[int]:
        """Which clips the batch of a step shows."""
        return in_turn(len(self.clips), self.batch, step, self.seed)

    def batch_at(self, step: int) -> ScoredBatch:
        """The batch of one step: of each clip one sample, and a square of it.

        Raises:
            DataError: a clip is smaller than the square, or whole frames are of several sizes.
        """
        rng, drawn = np.random.default_rng((self.seed, step, 1)), self.draw_at(step)
        views, keys = zip(*(self._view(index, rng) for index in drawn), strict=True)
        clips = stacked(views)
        opinions = torch.from_numpy(self._opinions[drawn]).float()
        return ScoredBatch(clips[0] if len(clips) > 1 else None, clips[-1], opinions, list(keys))

    def _view(self, index: int, rng: np.random.Generator) -> tuple[Bytes, str]:
        pixels = self.clips.pixels(index)
        size = (pixels.shape[-2], pixels.shape[-1])
        self.clips.check_side(index, self.crop, size)
        sample, variant = int(rng.integers(pixels.shape[1])), int(rng.integers(self.variants))
        name = f"{self.clips.items[index].distorted}/{sample}"
        cut = random_cut(name, variant, self.crop, size, flip=self.flip)
        return cut.of(pixels[:, sample]), self.clips.key(index, sample, cut)


def turned(manifest: Manifest, items: Sequence[Item]) -> npt.NDArray[np.float64]:
    """(n,) opinion scores; those of which lower is better with a minus sign."""
    values = np.array([item.mos for item in items], dtype=np.float64)
    return values if manifest.higher_is_better else -values


def told(manifest: Manifest, count: int) -> tuple[str, tuple[float, float] | None]:
    """What a part's labels are, in words, and the lowest and highest of them, turned as `turned` does."""
    span = manifest.scale
    if span is None and (canonical_label(manifest.label) or "").startswith("vmaf"):
        span = (0.0, 100.0)
    if span is not None and not manifest.higher_is_better:
        span = (-span[1], -span[0])
    return f"{label_title(manifest.label)} of {count:,} validation clips of {manifest.name}", span


def stacked(views: tuple[Bytes, ...] | list[Bytes]) -> list[Tensor]:
    """For each side, (B, frames, 3, H, W) in [0, 1]."""
    if len({view.shape for view in views}) > 1:
        raise DataError("whole frames of several sizes don't make a batch", hint="data.crop, for example 224")
    return [to_values(np.stack([view[side] for view in views])) for side in range(len(views[0]))]
