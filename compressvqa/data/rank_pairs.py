"""The dataset ``rank-pairs``: source videos and photographs in, labelled patches on disk, batches of rank pairs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.data.build import build, pieces
from compressvqa.data.choices import DEFAULT_LADDER, CameraChoice, LadderChoice, RawChoice
from compressvqa.data.filters import Filter
from compressvqa.data.judged import Judged
from compressvqa.data.ladder import AnyRung
from compressvqa.data.media import BUILTIN, MediaSource, Part, media_sources, shared_files
from compressvqa.data.orders import Kind
from compressvqa.data.pairs import PairSampler
from compressvqa.data.patches import PatchSet
from compressvqa.data.sources import Cutting, Source
from compressvqa.errors import DataError
from compressvqa.labels import label_title
from compressvqa.progress import Progress
from compressvqa.registry import datasets
from compressvqa.video.compare import MIN_SIDE
from compressvqa.video.folders import split_contents
from compressvqa.video.vmaf import LabelName

Places = str | list[str]


@datasets.register("rank-pairs", gives="ranked pairs")
class RankPairs:
    """Pairs of distorted patches of source videos and filmed photographs, ranked by VMAF.

    Patches are cut from the sources, sent through the ladder and labelled once, into a folder; training draws pairs
    from it. Training and validation never share a content, where a content is a source file (or a photograph):
    two files of one scene are two contents for the toolkit, so keep such families on one side yourself.
    """

    class Config(BaseModel):
        """Settings of the dataset ``rank-pairs``."""

        model_config = ConfigDict(extra="forbid", frozen=True)
        reference: ClassVar[bool] = True  # pairs come with their references

        sources: Places = Field(
            default=BUILTIN,
            description="folder of videos and photographs, or a list of folders, files and `builtin`; photographs are "
            "filmed by a virtual camera",
        )
        camera: CameraChoice = Field(
            default=CameraChoice(), description="what happens when photographs are filmed, in training and validation"
        )
        validation: Places | float = Field(
            default=BUILTIN,
            description="like sources, or the share of the sources' contents that is kept for validation",
        )
        raw: RawChoice | None = Field(default=None, description="what headerless .yuv files among the sources hold")
        patches_per_clip: int = Field(default=2, ge=1, description="patches cut from each source for training")
        validation_patches_per_clip: int = Field(
            default=1, ge=1, description="patches cut from each source for validation"
        )
        takes_per_photograph: int | None = Field(
            default=None, ge=1, description="takes of each photograph, in training; null: as many as patches per clip"
        )
        frames: int = Field(default=12, ge=1, description="frames of a patch")
        size: int = Field(default=256, ge=MIN_SIDE, multiple_of=2, description="width and height of a patch")
        downscale: int | Literal["auto"] = Field(
            default="auto",
            description="factor by which sources are made smaller first, to hide what their own codec did",
        )
        source_frames: int = Field(default=1500, ge=1, description="only so many frames of a source are looked at")
        ladder: list[LadderChoice] = Field(default=DEFAULT_LADDER, min_length=1, description="how patches are coded")
        distortions: dict[str, list[int]] = Field(
            default={}, description="distortions without a codec, as `distorted-images` knows them: {name: [levels]}"
        )
        label: LabelName = Field(
            default="vmaf_v0.6.1", description="what says which clip is better; all labels are stored"
        )
        gap: float = Field(default=6.0, ge=0, description="pairs with labels nearer than this are not used")
        jnd: float | None = Field(
            default=None,
            gt=0,
            description="difference of labels that three of four viewers see: labels become probabilities; null: they "
            "are 0 or 1",
        )
        agree: list[LabelName] = Field(
            default=[],
            description="further labels: pairs that they put the other way round are dropped, pairs on which they "
            "differ in size count less",
        )
        certain: dict[Kind, float] = Field(
            default={},
            description="pairs in an order that is certain, whatever labels say: {ladder, generation, reference or "
            "identity: share of the pairs}",
        )
        two_content_share: float = Field(
            default=0.7, ge=0, le=1, description="probability that a pair shows two contents"
        )
        swap: bool = Field(default=True, description="put either clip of a pair first with equal probability")
        sizes: list[int] = Field(
            default=[96], min_length=1, description="a batch's clips are square, of one of these sizes"
        )
        fit: Literal["crop", "resize"] = Field(
            default="crop", description="cut clips out of patches, or scale whole patches"
        )
        variants: int = Field(default=4, ge=1, description="crops of a patch; few of them let teacher scores be reused")
        flip: bool = Field(default=False, description="mirror half of the crops left to right")
        evaluation_size: int | None = Field(
            default=None, ge=MIN_SIDE, description="judge a patch's middle; null: all of it"
        )
        evaluation_batch: int = Field(default=4, ge=1, description="clips judged at a time")
        workers: int | None = Field(default=None, ge=1, description="encoders at a time; null: one for each core")
        seed: int = Field(default=0, ge=0, description="of patch places and of the split")

        @model_validator(mode="after")
        def _consistent(self) -> RankPairs.Config:
            if isinstance(self.validation, float) and not 0 < self.validation < 1:
                raise ValueError(f"validation: a share of {self.validation} leaves one side empty; use 0.1 to 0.5")
            if self.downscale != "auto" and self.downscale < 1:
                raise ValueError(f"downscale: {self.downscale} is not a factor; use 1, 2, ... or auto")
            if min(self.certain.values(), default=0) < 0 or sum(self.certain.values()) > 1:
                raise ValueError(f"certain: shares of {sum(self.certain.values()):g} together; from 0 to 1")
            if self.label in self.agree:
                raise ValueError(f"agree: {self.label} is the label itself")
            try:
                self.rungs()
            except DataError as error:
                raise ValueError(f"distortions: {error}") from error
            for size in self.sizes:
                if size < MIN_SIDE or (size > self.size and self.fit == "crop"):
                    raise ValueError(f"sizes: {size} is outside {MIN_SIDE} (networks) to {self.size} (patches)")
            return self

        def rungs(self) -> list[AnyRung]:
            """Everything that a patch goes through.

            Raises:
                DataError: no such distortion or level.
            """
            coded: list[AnyRung] = [rung for choice in self.ladder for rung in choice.rungs()]
            return coded + [Filter(name, level) for name, levels in self.distortions.items() for level in levels]

    references = True  # of every patch

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self) -> None:
        """Looks, before any work, whether there are videos on both sides, and whether patches can be coded.

        Raises:
            DataError: no such folder or file, no video in it, or one that is on both sides; a rung makes patches
                smaller than encoders take, or stands twice.
        """
        rungs = self.config.rungs()
        for rung in rungs:
            rung.coded_size(self.config.size, self.config.size)
        if len({rung.name for rung in rungs}) < len(rungs):
            raise DataError("names a rung twice", where="ladder")
        parts: tuple[Part, ...] = ("train", "validation")
        for part in parts:
            if not self.sources(part):
                raise DataError(f"no video is left for the part {part!r}", where=self.config.sources)

    def prepare(self, folder: str | Path, *, part: Part, progress: Progress | None = None) -> PatchSet:
        """Builds the patches of one part into `folder`, goes on where an earlier build ended, or returns at once.

        Args:
            folder: where the patches lie; each part needs its own.
            part: "train" or "validation".
            progress: called with (patches done, patches in all).

        Raises:
            DataError: no video, none that can be read, or a content on both sides.
        """
        config = self.config
        return build(
            self.sources(part), Path(folder), self._cutting(part), config.rungs(), workers=config.workers,
            progress=progress,
        )  # fmt: skip

    def pieces(self, folder: str | Path, *, part: Part) -> dict[str, Callable[[], None]]:
        """What `prepare` does, a source at a time, for processes and machines that share the folder."""
        config = self.config
        return pieces(self.sources(part), Path(folder), self._cutting(part), config.rungs(), workers=config.workers)

    def _cutting(self, part: Part) -> Cutting:
        config = self.config
        count = config.patches_per_clip if part == "train" else config.validation_patches_per_clip
        return Cutting(count, config.frames, config.size, config.downscale, config.source_frames, config.seed)

    def batches(self, examples: PatchSet, *, batch: int = 8, seed: int = 0) -> PairSampler:
        """Endless batches of pairs; ``batch_at(step)`` is a pure function of seed and step."""
        c = self.config
        return PairSampler(
            examples, label=c.label, gap=c.gap, two_content_share=c.two_content_share, swap=c.swap, batch=batch,
            sizes=tuple(c.sizes), variants=c.variants, fit=c.fit, seed=seed, flip=c.flip, jnd=c.jnd,
            agree=tuple(c.agree), certain=c.certain,
        )  # fmt: skip

    def evaluate(
        self, examples: PatchSet, network: Callable[[Tensor, Tensor], Tensor], progress: Progress | None = None
    ) -> dict[str, float]:
        """Scores every patch and compares with the label.

        Args:
            examples: the patches.
            network: called with reference and distorted, (B, T, 3, H, W) in [0, 1]; returns (B,) scores.
            progress: called with (patches done, patches in all).

        Returns:
            srocc and plcc (after the usual logistic fit) against the label; srocc_within, the mean over contents of the
            SROCC inside each; pair_accuracy over all pairs of patches whose labels are `gap` or more apart; n, how many
            patches were judged.
        """
        return self.figures(self.judge(examples, network, progress))

    def judge(
        self, examples: PatchSet, network: Callable[[Tensor, Tensor], Tensor], progress: Progress | None = None
    ) -> Judged:
        """Scores every patch; see `evaluate`. Patches without the label are left out."""
        scores: list[Tensor] = []
        for batch in examples.evaluation_batches(self.config.evaluation_batch, self.config.evaluation_size):
            scores.append(network(batch.reference, batch.distorted).detach().float().cpu())
            if progress is not None:
                progress(sum(map(len, scores)), len(examples))
        labels = examples.label(self.config.label)
        known = np.array([value is not None for value in labels])
        truth = np.array([value for value in labels if value is not None], dtype=np.float64)
        words = f"{label_title(self.config.label)} of {len(truth):,} validation patches"
        span = (0.0, 100.0) if self.config.label.startswith("vmaf") else None
        contents = tuple(entry.content for entry, has in zip(examples.entries, known, strict=True) if has)
        return Judged(torch.cat(scores).double().numpy()[known], truth, words, span, contents)

    def figures(self, judged: Judged) -> dict[str, float]:
        """The figures of `evaluate`."""
        from compressvqa.metrics import correlation, pair_accuracy, srocc_within

        scores, truth = judged.scores, judged.labels
        fitted = correlation(scores, truth)
        a, b = np.triu_indices(len(truth), 1)
        far = np.abs(truth[a] - truth[b]) >= max(self.config.gap, 1e-9)
        a, b = a[far], b[far]
        accuracy = pair_accuracy(scores[a], scores[b], truth[a] > truth[b])
        return {
            "srocc": fitted.srocc,
            "plcc": fitted.plcc,
            "srocc_within": srocc_within(scores, truth, judged.contents),
            "pair_accuracy": accuracy,
            "n": len(truth),
        }

    def identical(self, examples: PatchSet, network: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
        """The score of each reference shown as its own distorted patch."""
        found: list[float] = []
        for reference in examples.reference_batches(self.config.evaluation_batch, self.config.evaluation_size):
            found += network(reference, reference).detach().float().flatten().tolist()
        return found

    def sources(self, part: Part) -> Sequence[Source]:
        """What the patches of a part are cut from.

        Raises:
            DataError: no video, or training and validation share a file.
        """
        config = self.config
        validation = config.validation
        if isinstance(validation, float):
            found = self._media(config.sources, None)
            sides = split_contents([source.content for source in found], validation, config.seed)
            wanted = set(sides[0] if part == "train" else sides[1])
            return [source for source in found if source.content in wanted]
        train, held = self._media(config.sources, "train"), self._media(validation, "validation")
        shared = shared_files(train, held)
        if shared:
            what = f"{len(shared)} of the files are in training and in validation"
            hint = "two folders, or `validation: 0.2` (--set data.validation=0.2), which keeps a share of one"
            raise DataError(what, where=min(map(str, shared)), hint=hint)
        return train if part == "train" else held

    def _media(self, places: Places, part: Part | None) -> list[MediaSource]:
        config = self.config
        return media_sources(
            [places] if isinstance(places, str) else places,
            part=part,
            camera=config.camera.camera(),
            takes=None if part == "validation" else config.takes_per_photograph,
            raw=None if config.raw is None else config.raw.format(),
        )
