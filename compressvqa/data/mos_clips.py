"""The dataset ``mos-clips``: scored videos or pictures in, single clips with their opinion scores out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.data.kept import (
    Bytes,
    Cut,
    digest,
    frame_numbers,
    in_turn,
    keep,
    kept,
    middle_cut,
    random_cut,
    stamp,
    to_bytes,
    to_values,
    with_short_side,
)
from compressvqa.data.scored import ScoredBatch
from compressvqa.errors import DataError
from compressvqa.opinions import Item, Manifest
from compressvqa.opinions.parts import BY_COLUMN, Part, Side, check_share, read_parts
from compressvqa.progress import Progress
from compressvqa.registry import datasets
from compressvqa.video.align import blocks
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import look
from compressvqa.video.frames import Planes
from compressvqa.video.read import probe

BUILTIN = "builtin"
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
        return _turned(self.manifest, self.items)

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
        values = [item.mos for item in self.items]
        low, middle, high = (float(value) for value in np.percentile(values, [0, 50, 100]))
        spread = {"lowest": low, "median": middle, "highest": high, "histogram": np.histogram(values, 10)[0].tolist()}
        shown = [[item.distorted, item.mos, stamp(self.manifest.distorted(item).path)[0]] for item in self.items]
        return {
            "name": self.manifest.name,
            "kind": self.manifest.kind,
            "label": self.manifest.label,
            "contents": len({item.scene for item in self.items}),
            "clips": len(self.items),
            **self.settings,
            "labels": {self.manifest.label: spread},
            "notes": list(self.manifest.notes),
            "identity": digest(self.manifest.name, shown, self.settings),
        }


@datasets.register("mos-clips")
class MosSingles:
    """Single clips with an opinion each; training and validation share no content.

    Each file is decoded once: `prepare` keeps the sampled and resized frames, training cuts squares out of them.
    """

    class Config(BaseModel):
        """Settings of the dataset ``mos-clips``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        source: str = Field(
            description="the data set: path of its manifest, `NAME:FOLDER` of a known one, or `builtin`: encodes of "
            "the built-in photographs, with VMAF as a proxy and a split of their own"
        )
        validation: float | str = Field(
            0.2,
            description="share of the contents that is kept for validation; `split`: what the manifest says; "
            "or another data set",
        )
        reference: bool = Field(
            False, description="hand out the references too, for a full-reference network; false: the clips alone"
        )
        as_shown: bool = Field(
            True,
            description="where the data set names references, a clip of another size is first scaled to that of its "
            "reference (bicubic), as it was shown when it was scored; false: as it is coded",
        )
        frames: int = Field(8, ge=1, description="frames of a sample of a clip; pictures: 1")
        sampling: Literal["spread", "block"] = Field(
            "spread",
            description="frames of a sample: evenly over the whole clip (as InternVideo2), or consecutive ones",
        )
        samples: int = Field(
            1, ge=1, description="samples of a clip, at other moments; training draws one, evaluation averages all"
        )
        resize: int | None = Field(
            256, ge=16, description="short side in pixels at which frames are kept; null: as they are"
        )
        crop: int | None = Field(
            224,
            ge=16,
            description="side of the square that a network is shown: at a random place in training, the middle in "
            "evaluation; null: whole frames, which must then be of one size",
        )
        evaluation_crop: int | None = Field(
            None, ge=16, description="side of the square in the middle that is judged, at most; null: as `crop`"
        )
        flip: bool = Field(True, description="half of what is shown in training is mirrored left to right")
        variants: int = Field(
            8, ge=1, description="random squares of a sample; few of them let a teacher's answers be reused"
        )
        length: Literal["refuse", "trim"] = Field(
            "refuse", description="a clip and a reference of different length: refused, or cut to the shorter one"
        )
        evaluation_batch: int = Field(4, ge=1, description="samples judged at a time")
        seed: int = Field(0, ge=0, description="of the split")

        @model_validator(mode="after")
        def _consistent(self) -> MosSingles.Config:
            check_share(self.validation)
            if self.crop is not None and self.resize is not None and self.crop > self.resize:
                raise ValueError(f"crop: a square of {self.crop} does not fit into frames kept at {self.resize} pixels")
            return self

        def numbers(self, length: int) -> list[list[int]]:
            """Frames of each sample of a clip of `length` frames; where that is too short, frames are repeated."""
            return frame_numbers(length, self.frames, self.samples, self.sampling)

    def __init__(self, config: Config) -> None:
        self.config = config

    def prepare(self, folder: str | Path, *, part: Part, progress: Progress | None = None) -> KeptClips:
        """Decodes the clips of one part and keeps their frames, goes on where it was stopped, or returns at once.

        A clip is decoded again when its file's size or time of change differ, or a setting that its frames depend on.

        Args:
            folder: where the frames are kept; each part needs its own.
            part: "train" or "validation".
            progress: called with (clips kept, clips in all).

        Raises:
            DataError: no such data set, no references, a file that is missing or can't be read or compared, or fewer
                than two items in the part.
        """
        sides = self._sides(Path(folder), progress)
        manifest, items = sides[part]
        if len(items) < 2:
            raise DataError(f"{len(items)} items in the part {part!r}: there is nothing to tell apart",
                            where=manifest.folder)  # fmt: skip
        if self.config.reference and manifest.no_reference:
            raise DataError("the data set has no references", where=manifest.folder, hint="data.reference=false")
        files = [self._file(manifest, item) for item in items]
        makers = {
            file: functools.partial(self._frames, manifest, item) for file, item in zip(files, items, strict=True)
        }
        keep(Path(folder), makers, PREFIX, progress)
        learnt = _turned(*sides["train"])
        return KeptClips(
            Path(folder),
            tuple(files),
            manifest,
            tuple(items),
            float(learnt.mean()),
            float(learnt.std()),
            self.config.model_dump(
                include={"reference", "as_shown", "frames", "sampling", "samples", "resize", "crop", "evaluation_crop"}
            ),
        )

    def _sides(self, folder: Path, progress: Progress | None) -> dict[Part, Side]:
        if self.config.source != BUILTIN:
            return read_parts(self.config.source, self.config.validation, self.config.seed)
        from compressvqa.data.proxy.builtin import builtin_set

        return read_parts(builtin_set(folder.parent / BUILTIN, progress=progress), BY_COLUMN, self.config.seed)

    def batches(self, examples: KeptClips, *, batch: int = 8, seed: int = 0) -> ClipSampler:
        """Endless batches of clips; ``batch_at(step)`` is a pure function of seed and step."""
        c = self.config
        return ClipSampler(examples, batch=batch, crop=c.crop, flip=c.flip, variants=c.variants, seed=seed)

    def evaluate(
        self, examples: KeptClips, network: Callable[..., Tensor], progress: Progress | None = None
    ) -> dict[str, float]:
        """Scores the middle of every sample, averages the samples of a clip, and correlates with the opinion scores.

        Args:
            examples: the clips.
            network: called with distorted clips (or references and distorted), (B, T, 3, H, W); returns (B,) scores.
            progress: called with (clips done, clips in all).

        Returns:
            srocc, krocc and plcc (after the usual logistic fit), positive where network and viewers agree; rmse after
            that fit, on the data set's scale; pair_accuracy over all pairs of clips whose opinion scores differ; n.
        """
        from compressvqa.metrics import correlation

        scores: list[list[float]] = [[] for _ in examples.items]
        for batch in self._views(examples):
            judged = network(*_stacked([view for _, view in batch])).detach().float().cpu()
            for (index, _), score in zip(batch, judged.tolist(), strict=True):
                scores[index].append(score)
            if progress is not None:
                progress(batch[-1][0] + 1, len(examples))
        means, truth = np.array([np.mean(found) for found in scores]), examples.values
        found = correlation(means, truth)
        return {
            "srocc": found.srocc, "plcc": found.plcc, "krocc": found.krocc, "rmse": found.rmse,
            "pair_accuracy": _pair_accuracy(means, truth), "n": len(truth),
        }  # fmt: skip

    def _views(self, examples: KeptClips) -> Iterator[list[tuple[int, Bytes]]]:
        """Batches of (item, its sides (sides, frames, 3, H, W)) of equal shape, in the order of the items."""
        waiting: list[tuple[int, Bytes]] = []
        for index in range(len(examples)):
            pixels = examples.pixels(index)
            size = (pixels.shape[-2], pixels.shape[-1])
            side = self.config.crop if self.config.evaluation_crop is None else min(self.config.evaluation_crop, *size)
            examples.check_side(index, side, size)
            cut = middle_cut(side, size)
            for sample in range(pixels.shape[1]):
                view = cut.of(pixels[:, sample])
                if waiting and (len(waiting) == self.config.evaluation_batch or waiting[0][1].shape != view.shape):
                    yield waiting
                    waiting = []
                waiting.append((index, view))
        yield waiting

    def _clips(self, manifest: Manifest, item: Item) -> tuple[Clip | None, Clip]:
        wanted = self.config.reference or self.config.as_shown
        return manifest.reference(item) if wanted else None, manifest.distorted(item)

    def _file(self, manifest: Manifest, item: Item) -> str:
        c = self.config
        facts = [[stamp(clip.path), clip.raw] for clip in self._clips(manifest, item) if clip is not None]
        settings = (c.reference, c.as_shown, c.frames, c.sampling, c.samples, c.resize, c.length)
        return f"{PREFIX}{digest(item.distorted, facts, *settings)}.npy"

    def _frames(self, manifest: Manifest, item: Item) -> Bytes:
        """The sampled frames of one item, decoded: (sides, samples, frames, 3, H, W)."""
        reference, distorted = self._clips(manifest, item)
        pairing = Pairing(length=self.config.length)
        if not self.config.reference and not _differ_in_size(reference, distorted):
            reference = None  # nothing to learn from it, and it would be decoded
        sight = look(reference, distorted, pairing)
        if not sight.frames:
            raise DataError("its frames can't be counted", where=distorted.path)
        numbers = self.config.numbers(sight.frames)
        wanted = {number for sample in numbers for number in sample}
        found: dict[int, list[Bytes]] = {}
        frames = blocks(reference, [distorted], [sight], pairing, block=1, check=False)
        for number, block in enumerate(itertools.islice(frames, max(wanted) + 1)):
            if number in wanted:
                shown = block.reference if self.config.reference and block.reference is not None else []
                sides = [*shown, *block.distorted[0]]
                found[number] = [self._pixels(planes) for planes in sides]
        if len(found) < len(wanted):
            raise DataError(f"ends before frame {max(wanted)}, which its header promises", where=distorted.path)
        whole = np.stack([np.stack([np.stack(found[n]) for n in sample]) for sample in numbers])
        return np.ascontiguousarray(np.moveaxis(whole, 2, 0))

    def _pixels(self, planes: Planes) -> Bytes:
        return to_bytes(with_short_side(planes.to_rgb(), self.config.resize))


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
        clips = _stacked(views)
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


def _differ_in_size(reference: Clip | None, distorted: Clip) -> bool:
    if reference is None:
        return False
    infos = [probe(clip) for clip in (reference, distorted)]
    return (infos[0].width, infos[0].height) != (infos[1].width, infos[1].height)


def _turned(manifest: Manifest, items: Sequence[Item]) -> npt.NDArray[np.float64]:
    """(n,) opinion scores; those of which lower is better with a minus sign."""
    values = np.array([item.mos for item in items], dtype=np.float64)
    return values if manifest.higher_is_better else -values


def _stacked(views: tuple[Bytes, ...] | list[Bytes]) -> list[Tensor]:
    """For each side, (B, frames, 3, H, W) in [0, 1]."""
    if len({view.shape for view in views}) > 1:
        raise DataError("whole frames of several sizes don't make a batch", hint="data.crop, for example 224")
    return [to_values(np.stack([view[side] for view in views])) for side in range(len(views[0]))]


def _pair_accuracy(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> float:
    """Over all pairs whose opinion scores differ, one row of pairs at a time: a large set has millions of them."""
    from compressvqa.metrics import pair_accuracy

    right = pairs = 0.0
    for first in range(len(truth) - 1):
        other = np.flatnonzero(truth[first + 1 :] != truth[first]) + first + 1
        if len(other):
            ours = np.full(len(other), scores[first])
            right += len(other) * pair_accuracy(ours, scores[other], truth[first] > truth[other])
            pairs += len(other)
    return right / pairs if pairs else float("nan")
