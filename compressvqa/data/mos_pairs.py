"""The dataset ``mos-pairs``: scored videos in, random pairs of them and the difference of their scores out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.data.judged import Judged
from compressvqa.data.kept import digest
from compressvqa.data.kept_clips import part_summary, told, turned
from compressvqa.errors import DataError
from compressvqa.fingerprint import file_digest
from compressvqa.opinions import Item, Manifest
from compressvqa.opinions.parts import Part, check_parts, check_share, read_parts
from compressvqa.plurals import count
from compressvqa.progress import Progress
from compressvqa.registry import datasets
from compressvqa.video.align import blocks, stacked
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import MIN_SIDE, look
from compressvqa.video.sequence import find_sequence, is_sequence


class MosBatch(NamedTuple):
    """B pairs of clips.

    Clips are (B, T, 3, H, W), float32 RGB in [0, 1]; references are None in a no-reference data set. `difference` is
    (B,): how much better a is than b, in standard deviations of the part's opinion scores. A key names a clip exactly.
    """

    reference_a: Tensor | None
    distorted_a: Tensor
    reference_b: Tensor | None
    distorted_b: Tensor
    difference: Tensor
    keys_a: list[str]
    keys_b: list[str]


class Draw(NamedTuple):
    """The pairs of a batch before anything is read: item numbers, and `MosBatch.difference`."""

    a: list[int]
    b: list[int]
    difference: Tensor


@dataclass(frozen=True)
class MosClips:
    """The videos of one part of a data set. Nothing is decoded before it is asked for.

    Args:
        manifest: the data set.
        items: those of its items that belong to the part.
        frames: frames in each of them.
        block: frames of a block.
        blocks: at most so many blocks are looked at, evenly spread over a clip.
        pairing: how a clip is brought together with its reference.
    """

    manifest: Manifest
    items: tuple[Item, ...]
    frames: tuple[int, ...]
    block: int
    blocks: int
    pairing: Pairing = field(default_factory=Pairing)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def opinions(self) -> npt.NDArray[np.float64]:
        """(n,) opinion scores, turned so that higher is better, in standard deviations about their mean."""
        values = np.array([item.mos for item in self.items], dtype=np.float64)
        spread = float(values.std())
        turned = values if self.manifest.higher_is_better else -values
        found: npt.NDArray[np.float64] = (turned - turned.mean()) / (spread if spread > 0 else 1.0)
        return found

    def key(self, index: int) -> str:
        """A name of one clip, unique in the data set."""
        return f"{self.manifest.name}/{self.items[index].distorted}"

    def by_reference(self) -> list[list[int]]:
        """Item numbers, those of one reference together."""
        found: dict[str | None, list[int]] = {}
        for index, item in enumerate(self.items):
            found.setdefault(item.reference, []).append(index)
        return list(found.values())

    def firsts(self, index: int) -> list[int]:
        """Numbers of the first frames of the blocks that are looked at."""
        return list(range(0, self.frames[index], self.block * self._every(index)))

    def read(self, index: int) -> Iterator[tuple[Tensor | None, Tensor]]:
        """The blocks of `firsts`: (reference or None, distorted), each (1, T, 3, H, W) in [0, 1].

        Raises:
            DataError: a file can't be read, or the two can't be compared.
        """
        item, pairing = self.items[index], replace(self.pairing, subsample=self._every(index))
        return _blocks(self.manifest.reference(item), self.manifest.distorted(item), pairing, self.block)

    def summary(self) -> dict[str, Any]:
        """What the part holds, as plain values."""
        return part_summary(self.manifest, self.items, self.identity, {})

    @cached_property
    def identity(self) -> str:
        """Changes with the files, their opinion scores, and what is looked at of them."""
        known: dict[Path, str] = {}
        shown = []
        for item in self.items:
            clips = [clip for clip in (self.manifest.reference(item), self.manifest.distorted(item)) if clip]
            for clip in clips:
                if clip.path not in known:
                    known[clip.path] = _digest(clip.path)
            facts = [[known[clip.path], str(clip.raw), str(clip.frame_rate)] for clip in clips]
            shown.append([item.distorted, item.mos, facts])
        return digest(self.manifest.name, shown, self.frames, self.block, self.blocks, str(self.pairing))

    def _every(self, index: int) -> int:
        return math.ceil(math.ceil(self.frames[index] / self.block) / self.blocks)


@datasets.register("mos-pairs", gives="pairs of scored clips")
class MosPairs:
    """Random pairs of videos that viewers (or a proxy) scored; training and validation share no content.

    Nothing is unpacked: `prepare` reads the manifest and looks at the files, pixels are decoded when they are needed.
    """

    class Config(BaseModel):
        """Settings of the dataset ``mos-pairs``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        source: str = Field(description="the data set: path of its manifest, or `NAME:FOLDER` of a known one")
        validation: float | str = Field(
            0.2,
            description="share of the contents that is kept for validation; `split`: what the manifest says; "
            "or another data set",
        )
        frames: int = Field(12, ge=1, description="frames of a block; images: 1")
        blocks: int = Field(4, ge=1, description="blocks of a clip that are looked at, evenly spread over it")
        length: Literal["refuse", "trim"] = Field(
            "refuse", description="a clip and a reference of different length: refused, or cut to the shorter one"
        )
        size: int | None = Field(
            256,
            ge=MIN_SIDE,
            description="training on pixels: side of the square that is cut out; null: whole frames (pooling over "
            "patches learns nothing from a square that is one patch)",
        )
        seed: int = Field(0, ge=0, description="of the split")

        @model_validator(mode="after")
        def _is_a_share(self) -> MosPairs.Config:
            check_share(self.validation)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def references(self) -> bool:
        """Whether the data set has them."""
        c = self.config
        return not read_parts(c.source, c.validation, c.seed)["train"].manifest.no_reference

    def check(self) -> None:
        """Looks, before any work, whether the data set and all its files are there.

        Raises:
            DataError: no such data set, a file that is missing, or a part of less than two items.
        """
        c = self.config
        check_parts(read_parts(c.source, c.validation, c.seed))

    def prepare(self, folder: str | Path, *, part: Part, progress: Progress | None = None) -> MosClips:
        """Reads the manifest, takes the items of one part, and counts their frames.

        Args:
            folder: not used: nothing is unpacked.
            part: "train" or "validation".
            progress: called with (files looked at, files in all).

        Raises:
            DataError: no such data set, a file is missing, no video, or can't be compared with its reference, or a part
                is empty.
        """
        del folder
        manifest, items = self._part(part)
        pairing, counts = Pairing(length=self.config.length), []
        for done, item in enumerate(items, start=1):
            clip = manifest.distorted(item)
            found = look(manifest.reference(item), clip, pairing).frames
            if not found:
                raise DataError("its frames can't be counted", where=clip.path)
            counts.append(found)
            if progress is not None:
                progress(done, len(items))
        return MosClips(manifest, tuple(items), tuple(counts), self.config.frames, self.config.blocks, pairing)

    def batches(self, examples: MosClips, *, batch: int = 8, seed: int = 0) -> MosPairSampler:
        """Endless batches of pairs; ``batch_at(step)`` is a pure function of seed and step."""
        return MosPairSampler(examples, batch=batch, size=self.config.size, seed=seed)

    def evaluate(
        self, examples: MosClips, network: Callable[..., Tensor], progress: Progress | None = None
    ) -> dict[str, float]:
        """Scores the blocks of every clip that are looked at, and correlates with the opinion scores.

        Args:
            examples: the clips.
            network: called with reference and distorted (or distorted alone), (1, T, 3, H, W); returns (1,) scores.
            progress: called with (clips done, clips in all).

        Returns:
            srocc and plcc (after the usual logistic fit), positive where network and viewers agree; pair_accuracy over
            all pairs of clips whose opinion scores differ; n, how many clips were judged.
        """
        return self.figures(self.judge(examples, network, progress))

    def judge(self, examples: MosClips, network: Callable[..., Tensor], progress: Progress | None = None) -> Judged:
        """Scores every clip; see `evaluate`."""
        scores = []
        for index in range(len(examples)):
            references, distorted = zip(*examples.read(index), strict=True)
            inputs = [torch.cat(distorted, dim=1)]
            if references[0] is not None:
                inputs.insert(0, torch.cat([block for block in references if block is not None], dim=1))
            scores.append(float(network(*inputs)))
            if progress is not None:
                progress(index + 1, len(examples))
        truth = turned(examples.manifest, examples.items)
        return Judged(np.array(scores), truth, *told(examples.manifest, len(truth)))

    def figures(self, judged: Judged) -> dict[str, float]:
        """The figures of `evaluate`."""
        from compressvqa.metrics import correlation, pair_accuracy

        scores, truth = judged.scores, judged.labels
        fitted = correlation(scores, truth)
        a, b = np.triu_indices(len(truth), 1)
        differ = truth[a] != truth[b]
        a, b = a[differ], b[differ]
        accuracy = pair_accuracy(scores[a], scores[b], truth[a] > truth[b])
        return {"srocc": fitted.srocc, "plcc": fitted.plcc, "pair_accuracy": accuracy, "n": len(truth)}

    def _part(self, part: Part) -> tuple[Manifest, list[Item]]:
        manifest, items = read_parts(self.config.source, self.config.validation, self.config.seed)[part]
        if len(items) < 2:
            raise DataError(
                f"{count(len(items), 'item')} in the part {part!r}: a pair needs two", where=manifest.folder
            )
        return manifest, items


class MosPairSampler:
    """Endless batches of random pairs of clips; each is a pure function of (seed, step).

    Args:
        clips: the clips to draw from.
        batch: pairs of a batch.
        size: side of the square that `batch_at` cuts out of a block; None: whole frames, which must be of one size.
        seed: another seed gives other pairs.

    Raises:
        DataError: all opinion scores are equal.
    """

    def __init__(self, clips: MosClips, *, batch: int = 8, size: int | None = 256, seed: int = 0) -> None:
        self.clips, self.batch, self.size, self.seed = clips, batch, size, seed
        self._opinions = clips.opinions
        if np.ptp(self._opinions) == 0:
            raise DataError("all scores are equal: there is nothing to learn", where=clips.manifest.folder)

    def draw_at(self, step: int) -> Draw:
        """Which clips the batch of a step shows, without reading them; the two of a pair are never the same."""
        rng = np.random.default_rng((self.seed, step))
        a = rng.integers(len(self.clips), size=self.batch)
        b = (a + rng.integers(1, len(self.clips), size=self.batch)) % len(self.clips)
        difference = torch.from_numpy(self._opinions[a] - self._opinions[b]).float()
        return Draw(a.tolist(), b.tolist(), difference)

    def batch_at(self, step: int) -> MosBatch:
        """The batch of one step, decoded: of each clip one block and a square of it, drawn at random."""
        draw = self.draw_at(step)
        rng = np.random.default_rng((self.seed, step, 1))
        a, b = ([self._clip(index, rng) for index in side] for side in (draw.a, draw.b))
        return MosBatch(*_stacked(a), *_stacked(b), draw.difference, [c[2] for c in a], [c[2] for c in b])

    def _clip(self, index: int, rng: np.random.Generator) -> tuple[Tensor | None, Tensor, str]:
        place = int(rng.integers(len(self.clips.firsts(index))))
        reference, distorted = next(itertools.islice(self.clips.read(index), place, None))
        key, pair = f"{self.clips.key(index)}@{place}", [reference, distorted]
        if self.size is not None:
            height, width = distorted.shape[3:]
            if min(height, width) < self.size:
                where = self.clips.manifest.distorted(self.clips.items[index]).path
                raise DataError(f"is smaller than {self.size} pixels", where=where, hint="a smaller data.size")
            top, left = int(rng.integers(height - self.size + 1)), int(rng.integers(width - self.size + 1))
            pair = [clip if clip is None else clip[..., top:, left:][..., : self.size, : self.size] for clip in pair]
            key += f"+{top}+{left}"
        filled = [None if clip is None else _filled(clip, self.clips.block) for clip in pair]
        assert filled[1] is not None
        return filled[0], filled[1], key


def _digest(path: Path) -> str:
    return digest([file_digest(file) for file in find_sequence(path).files]) if is_sequence(path) else file_digest(path)


def _filled(clip: Tensor, frames: int) -> Tensor:
    """(1, T, ...) filled up with its last frame."""
    missing = frames - clip.shape[1]
    return clip if missing <= 0 else torch.cat([clip, clip[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)


def _stacked(clips: list[tuple[Tensor | None, Tensor, str]]) -> tuple[Tensor | None, Tensor]:
    if len({distorted.shape for _, distorted, _ in clips}) > 1:
        raise DataError("whole frames of several sizes don't make a batch", hint="data.size, for example 256")
    references = [reference for reference, _, _ in clips if reference is not None]
    return torch.cat(references) if references else None, torch.cat([distorted for _, distorted, _ in clips])


def _blocks(
    reference: Clip | None, distorted: Clip, pairing: Pairing, block: int
) -> Iterator[tuple[Tensor | None, Tensor]]:
    sight = look(reference, distorted, pairing)
    for found in blocks(reference, [distorted], [sight], pairing, block=block, check=False):
        frames = found.distorted[0]
        # A reference that goes on for longer than its distorted clip is cut, where the pairing allows it.
        yield None if found.reference is None else stacked(found.reference[: len(frames)]), stacked(frames)
