"""The dataset ``mos-clips``: scored videos or pictures in, single clips with their opinion scores out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.data.judged import Judged
from compressvqa.data.kept import (
    Bytes,
    digest,
    frame_numbers,
    keep,
    middle_cut,
    pieces,
    stamp,
    to_bytes,
    with_short_side,
)
from compressvqa.data.kept_clips import PREFIX, ClipSampler, KeptClips, stacked, told, turned
from compressvqa.errors import DataError
from compressvqa.opinions import Item, Manifest
from compressvqa.opinions.parts import BY_COLUMN, Part, Side, check_parts, check_share, read_parts
from compressvqa.plurals import count
from compressvqa.progress import Progress
from compressvqa.registry import datasets
from compressvqa.video.align import blocks
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import look
from compressvqa.video.frames import Planes
from compressvqa.video.read import probe

BUILTIN = "builtin"


@datasets.register("mos-clips", gives="scored clips")
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

    def check(self) -> None:
        """Looks, before any work, whether the data set and all its files are there.

        Raises:
            DataError: no such data set, no references, a file that is missing, or a part of less than two items.
        """
        if self.config.source != BUILTIN:
            sides = read_parts(self.config.source, self.config.validation, self.config.seed)
            check_parts(sides, references=self.config.reference)

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
        makers = self._makers(manifest, items, part)
        keep(Path(folder), makers, PREFIX, progress)
        learnt = turned(*sides["train"])
        return KeptClips(
            Path(folder),
            tuple(self._file(manifest, item) for item in items),
            manifest,
            tuple(items),
            float(learnt.mean()),
            float(learnt.std()),
            self.config.model_dump(
                include={"reference", "as_shown", "frames", "sampling", "samples", "resize", "crop", "evaluation_crop"}
            ),
        )

    def pieces(self, folder: str | Path, *, part: Part) -> dict[str, Callable[[], None]]:
        """What `prepare` does, a clip at a time, for processes and machines that share the folder."""
        manifest, items = self._sides(Path(folder), None)[part]
        return pieces(Path(folder), self._makers(manifest, items, part))

    def _makers(self, manifest: Manifest, items: Sequence[Item], part: Part) -> dict[str, Callable[[], Bytes]]:
        """{file: what decodes its clip} of a part.

        Raises:
            DataError: no references, or fewer than two items.
        """
        if len(items) < 2:
            raise DataError(f"{count(len(items), 'item')} in the part {part!r}: there is nothing to tell apart",
                            where=manifest.folder)  # fmt: skip
        if self.config.reference and manifest.no_reference:
            raise DataError("the data set has no references", where=manifest.folder, hint="data.reference=false")
        return {self._file(manifest, item): functools.partial(self._frames, manifest, item) for item in items}

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
        return self.figures(self.judge(examples, network, progress))

    def judge(self, examples: KeptClips, network: Callable[..., Tensor], progress: Progress | None = None) -> Judged:
        """Scores every clip; see `evaluate`."""
        scores: list[list[float]] = [[] for _ in examples.items]
        for batch in self._views(examples):
            judged = network(*stacked([view for _, view in batch])).detach().float().cpu()
            for (index, _), score in zip(batch, judged.tolist(), strict=True):
                scores[index].append(score)
            if progress is not None:
                progress(batch[-1][0] + 1, len(examples))
        means = np.array([np.mean(found) for found in scores])
        return Judged(means, examples.values, *told(examples.manifest, len(means)))

    def figures(self, judged: Judged) -> dict[str, float]:
        """The figures of `evaluate`."""
        from compressvqa.metrics import correlation

        means, truth = judged.scores, judged.labels
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


def _differ_in_size(reference: Clip | None, distorted: Clip) -> bool:
    if reference is None:
        return False
    infos = [probe(clip) for clip in (reference, distorted)]
    return (infos[0].width, infos[0].height) != (infos[1].width, infos[1].height)


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
