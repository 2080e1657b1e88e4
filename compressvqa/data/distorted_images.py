"""The dataset ``distorted-images``: pictures without labels in, distorted ones out, made while training goes on.

It is what the self-supervised stage learns from in Sang et al., "Image quality assessment based on self-supervised
learning and knowledge distillation", J. Vis. Commun. Image R. 90, 2023 (doi 10.1016/j.jvcir.2022.103708): the student
is taught what the teacher says of pictures that nobody was asked about.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.data import virtual_camera
from compressvqa.data.distortions import DISTORTIONS, LEVELS, Distortion, distortion_named
from compressvqa.data.kept import (
    Bytes,
    Cut,
    contents,
    digest,
    frame_numbers,
    in_turn,
    keep,
    kept,
    pieces,
    stamp,
    to_bytes,
    to_values,
    with_short_side,
)
from compressvqa.data.scored import ScoredBatch
from compressvqa.errors import DataError
from compressvqa.opinions.parts import Part
from compressvqa.progress import Progress
from compressvqa.registry import datasets
from compressvqa.video import pictures
from compressvqa.video.folders import VIDEO_SUFFIXES, is_passed_over
from compressvqa.video.read import RAW_SUFFIXES, probe, read_frames

log = logging.getLogger(__name__)
BUILTIN = "builtin"
PREFIX = "picture-"  # of the names of kept files
MARGIN = 15  # a square is distorted with up to so many pixels more, so that blocks of a coder lie anywhere in it


@dataclass(frozen=True)
class KeptPictures:
    """Pictures on disk, undistorted.

    Args:
        folder: where the files lie.
        files: a file for each source: uint8, (pictures, 3, H, W).
        names: of the sources.
        pictures: (source, picture of it) of each picture that is large enough.
        skipped: sources that can't be used, and why.
        settings: how pictures were sampled and sized, for reports.
    """

    folder: Path
    files: tuple[str, ...]
    names: tuple[str, ...]
    pictures: tuple[tuple[int, int], ...]
    skipped: tuple[tuple[str, str], ...]
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.pictures)

    def pixels(self, index: int) -> Bytes:
        """A picture, mapped: (3, H, W).

        Raises:
            DataError: the file is gone or damaged.
        """
        source, number = self.pictures[index]
        pixels: Bytes = kept(self.folder / self.files[source])[number]
        return pixels

    def name(self, index: int) -> str:
        """A name of a picture; it changes with the file, and with how it was kept."""
        source, number = self.pictures[index]
        return f"{self.names[source]}#{Path(self.files[source]).stem.removeprefix(PREFIX)}.{number}"

    def summary(self) -> dict[str, Any]:
        """What there is, as plain values."""
        return {
            "sources": len({source for source, _ in self.pictures}),
            "pictures": len(self),
            **self.settings,
            "notes": ["the pictures have no scores: networks learn from them, and are not judged on them"],
            "skipped": [{"source": name, "reason": reason} for name, reason in self.skipped],
            "identity": self.identity,
        }

    @functools.cached_property
    def identity(self) -> str:
        """Changes with the pictures and how they are looked at."""
        used = sorted({source for source, _ in self.pictures})
        names = [self.names[source] for source in used]
        return digest(names, contents(self.folder, [self.files[source] for source in used]), self.settings)


@datasets.register("distorted-images", gives="scored clips")
class DistortedImages:
    """Pictures without labels, distorted on the fly: for distillation on clips that nobody scored.

    Sources are read once; each picture of a batch is a square of one, with a distortion and a level drawn at random.
    """

    class Config(BaseModel):
        """Settings of the dataset ``distorted-images``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        sources: str | list[str] = Field(
            BUILTIN, description="folder of pictures and videos, a list of folders and files, or `builtin`"
        )
        frames_per_video: int = Field(4, ge=1, description="pictures taken from a video, evenly spread over it")
        resize: int | None = Field(
            384, ge=16, description="short side in pixels at which pictures are kept; null: as they are"
        )
        crop: int = Field(224, ge=32, description="side of the square that is cut out and distorted")
        flip: bool = Field(True, description="half of the squares are mirrored left to right")
        variants: int = Field(
            256, ge=1, description="squares and distortions of a picture; few of them let a teacher's answers be reused"
        )
        distortions: list[str] | dict[str, list[int]] = Field(
            sorted(DISTORTIONS), min_length=1, description="which, equally often; or {name: [levels]}"
        )
        levels: int = Field(LEVELS, ge=1, le=LEVELS, description="levels that are drawn from: 1 to this one")
        clean_share: float = Field(0.1, ge=0, le=1, description="share of the squares that are not distorted")
        seed: int = Field(0, ge=0, description="of the variants")

        @model_validator(mode="after")
        def _consistent(self) -> DistortedImages.Config:
            if self.resize is not None and self.crop > self.resize:
                raise ValueError(f"crop: a square of {self.crop} does not fit into pictures of {self.resize} pixels")
            try:
                chosen = self.chosen()
            except DataError as error:
                raise ValueError(f"distortions: {error}") from error
            for which, levels in chosen:
                if not levels or not set(levels) <= set(range(1, LEVELS + 1)):
                    raise ValueError(f"distortions: {which.name} has the levels 1 to {LEVELS}, not {levels}")
            return self

        def chosen(self) -> list[tuple[Distortion, list[int]]]:
            """The distortions, each with its levels.

            Raises:
                DataError: an unknown name.
            """
            if isinstance(self.distortions, dict):
                return [(distortion_named(name), levels) for name, levels in self.distortions.items()]
            return [(distortion_named(name), list(range(1, self.levels + 1))) for name in self.distortions]

    references = False

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self) -> None:
        """Looks, before any work, whether there are sources.

        Raises:
            DataError: no such folder or file, nothing in it that can be read, or two sources of one name.
        """
        self._sources("train")

    def prepare(self, folder: str | Path, *, part: Part, progress: Progress | None = None) -> KeptPictures:
        """Reads the sources and keeps their pictures, goes on where it was stopped, or returns at once.

        Sources that can't be read, and pictures that are smaller than `crop`, are skipped and named in the summary.

        Args:
            folder: where the pictures are kept; each part needs its own.
            part: "train" or "validation": of `builtin` other photographs; of files the same, as nothing is judged.
            progress: called with (sources read, sources in all).

        Raises:
            DataError: no such folder, or no picture that can be used.
        """
        places, folder = self._sources(part), Path(folder)
        makers = _makers(places)
        files = list(makers)
        failed = keep(folder, makers, PREFIX, progress, skip=True)
        found, skipped = [], []
        for source, (file, (name, _, _)) in enumerate(zip(files, places, strict=True)):
            reason = failed.get(file)
            if reason is None:
                count, _, height, width = kept(folder / file).shape
                found += [(source, number) for number in range(count) if min(height, width) >= self.config.crop]
                if min(height, width) < self.config.crop:
                    reason = f"{width}x{height} is smaller than the square of {self.config.crop}"
            if reason is not None:
                log.warning("skipped %s: %s", name, reason)
                skipped.append((name, reason))
        if not found:
            shown = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
            raise DataError(f"none of {len(places)} sources can be used ({shown})", where=self.config.sources)
        settings = self.config.model_dump(include={"resize", "crop", "distortions", "clean_share"})
        names = tuple(name for name, _, _ in places)
        return KeptPictures(folder, tuple(files), names, tuple(found), tuple(skipped), settings)

    def pieces(self, folder: str | Path, *, part: Part) -> dict[str, Callable[[], None]]:
        """What `prepare` does, a source at a time, for processes and machines that share the folder."""
        return pieces(Path(folder), _makers(self._sources(part)), skip=True)

    def batches(self, examples: KeptPictures, *, batch: int = 8, seed: int = 0) -> DistortionSampler:
        """Endless batches of distorted pictures; ``batch_at(step)`` is a pure function of seed and step."""
        return DistortionSampler(examples, self.config, batch=batch, seed=seed)

    def evaluate(
        self, examples: KeptPictures, network: Callable[..., Tensor], progress: Progress | None = None
    ) -> dict[str, float]:
        """Not possible: nobody scored the pictures.

        Raises:
            DataError: always.
        """
        raise DataError("pictures without scores can't judge a network", where="distorted-images",
                        hint="name it under `unlabelled`, and a data set of scored clips under `data`")  # fmt: skip

    def _sources(self, part: Part) -> list[tuple[str, Callable[[], Bytes], list[Any]]]:
        """(name, what reads it, facts that its pictures depend on) of each source."""
        config = self.config
        found: list[tuple[str, Callable[[], Bytes], list[Any]]] = []
        for place in [config.sources] if isinstance(config.sources, str) else config.sources:
            if place == BUILTIN:
                for name in virtual_camera.photographs(part):
                    read = functools.partial(_photograph, name, config.resize)
                    found.append((f"{BUILTIN}/{name}", read, [config.resize]))
                continue
            for name, path in _list_media(Path(place)):
                facts = [stamp(path), config.frames_per_video, config.resize]
                found.append((name, functools.partial(_read, path, config.frames_per_video, config.resize), facts))
        names = [name for name, _, _ in found]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"two sources are named {name!r}", where=config.sources, hint="name a folder above both")
        return found


def _makers(places: Sequence[tuple[str, Callable[[], Bytes], list[Any]]]) -> dict[str, Callable[[], Bytes]]:
    """{file: what reads its pictures} of sources, in their order."""
    return {f"{PREFIX}{digest(name, *facts)}.npy": make for name, make, facts in places}


class Variant(NamedTuple):
    """How one square of a picture is made.

    Args:
        outer: the rectangle that is distorted.
        inner: the square that is cut out of what comes of it.
        distortion: None leaves the square as it is.
        level: of the distortion.
        seed: of what the distortion draws.
    """

    outer: Cut
    inner: Cut
    distortion: Distortion | None
    level: int
    seed: int

    def of(self, pixels: Bytes) -> Tensor:
        """The square, (3, side, side) in [0, 1], of a picture's bytes."""
        picture = to_values(self.outer.of(pixels))
        if self.distortion is not None:
            picture = self.distortion(picture, self.level, np.random.default_rng(self.seed))
        shown = picture[:, self.inner.top :, self.inner.left :][:, : self.inner.height, : self.inner.width]
        return shown.flip(-1) if self.inner.mirrored else shown

    def __str__(self) -> str:
        what = "clean" if self.distortion is None else f"{self.distortion.name}-{self.level}/{self.seed:x}"
        return f"{self.outer}@{self.inner}:{what}"


class DistortionSampler:
    """Endless batches of distorted pictures, each picture once before any comes again; a pure function of (seed, step).

    Args:
        pictures: what to distort.
        config: how.
        batch: pictures of a batch.
        seed: another seed gives another order.
    """

    def __init__(
        self, pictures: KeptPictures, config: DistortedImages.Config, *, batch: int = 8, seed: int = 0
    ) -> None:
        self.pictures, self.config, self.batch, self.seed = pictures, config, batch, seed
        self._chosen = config.chosen()

    def batch_at(self, step: int) -> ScoredBatch:
        """The batch of one step: squares as clips of one frame, without reference or opinion.

        Raises:
            DataError: a library was built without a coder that a distortion needs.
        """
        rng = np.random.default_rng((self.seed, step, 1))
        squares, keys = [], []
        for index in in_turn(len(self.pictures), self.batch, step, self.seed):
            pixels = self.pictures.pixels(index)
            variant = self.variant(index, int(rng.integers(self.config.variants)), pixels.shape[-2:])
            squares.append(variant.of(pixels))
            keys.append(f"{self.pictures.name(index)}@{variant}")
        return ScoredBatch(None, torch.stack(squares)[:, None], None, keys)

    def variant(self, index: int, number: int, size: tuple[int, ...]) -> Variant:
        """A variant of a picture (H, W): a pure function of the picture's name, the number and the settings."""
        config = self.config
        source, picture = self.pictures.pictures[index]
        name = f"{config.seed}/{self.pictures.names[source]}/{picture}/{number}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        rng = np.random.default_rng(seed)
        rooms = [min(config.crop + MARGIN, side) for side in size[-2:]]
        top, left = (int(rng.integers(side - room + 1)) for side, room in zip(size[-2:], rooms, strict=True))
        down, right = (int(rng.integers(room - config.crop + 1)) for room in rooms)
        inner = Cut(down, right, config.crop, config.crop, config.flip and bool(rng.random() < 0.5))
        clean = rng.random() < config.clean_share
        which, levels = self._chosen[int(rng.integers(len(self._chosen)))]
        level = int(rng.choice(levels))
        return Variant(Cut(top, left, rooms[0], rooms[1]), inner, None if clean else which, level, seed)


def _list_media(place: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the pictures and videos of a folder and its subfolders, or of one file; no headerless ones."""
    if place.is_file():
        yield place.name, place
        return
    if not place.is_dir():
        raise DataError("no such folder or file of pictures", where=place)
    wanted = (VIDEO_SUFFIXES | pictures.SUFFIXES) - RAW_SUFFIXES
    found = False
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in wanted and path.is_file() and not is_passed_over(path, place):
            found = True
            yield f"{place.absolute().name}/{path.relative_to(place).as_posix()}", path
    if not found:
        raise DataError(
            "holds no picture and no video", where=place, hint="files ending in .png, .jpg, .mp4, .mkv, ..."
        )


def _photograph(name: str, resize: int | None) -> Bytes:
    return to_bytes(with_short_side(virtual_camera.load_photograph(name)[None], resize))


def _read(path: Path, frames: int, resize: int | None) -> Bytes:
    """Pictures of a file, evenly spread over it: (pictures, 3, H, W)."""
    info = probe(path, count=not pictures.is_picture(path))
    if info.transfer != "sdr":
        raise DataError(f"is HDR ({info.transfer})", where=path, hint="tone-map it to SDR")
    length = info.frames or 1
    wanted = sorted(set(frame_numbers(length, min(frames, length), 1, "spread")[0]))
    shown = [
        to_bytes(with_short_side(planes.to_rgb(), resize))
        for number, planes in enumerate(itertools.islice(read_frames(path), max(wanted) + 1))
        if number in wanted
    ]
    if not shown:
        raise DataError("holds not one frame that decodes", where=path)
    return np.stack(shown)
