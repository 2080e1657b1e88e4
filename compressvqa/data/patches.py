"""A set of labelled patches on disk: one shard for each source, read lazily.

A shard is two files with one name: ``NAME.npy``, an array (patches, frames, samples of a frame) of planar 4:2:0 that
any numpy reads, references first; and ``NAME.json``, which says what each row is. The JSON is written last and whole,
so a shard without it does not count. ``index-SETTINGS.json`` names the shards of a finished set, ``index.json``
those of the one that was finished last; sets of other settings may share the folder.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.untrusted import read_json
from compressvqa.video.frames import Colour, Planes, Samples, split_planes
from compressvqa.video.vmaf import LABELS, Labels

INDEX = "index.json"
# Changes with the layout of the files.
FORMAT = 1


@dataclass(frozen=True)
class ReferenceEntry:
    """Facts of a reference patch.

    Args:
        id: a name for it, unique in the set and stable as long as its pixels are.
        content: what is seen; patches of one source share it.
        shard: name of its shard.
        row: its row in the shard.
        start: number of its first frame in the source (of a take under the virtual camera: the take's number).
        top: first row in the source, after downscaling.
        left: first column in the source, after downscaling.
        downscale: factor by which the source was made smaller.
    """

    id: str
    content: str
    shard: str
    row: int
    start: int
    top: int
    left: int
    downscale: int


@dataclass(frozen=True)
class PatchEntry:
    """Facts of a distorted patch.

    Args:
        id: a name for it, unique in the set and stable as long as its pixels are.
        content: what is seen.
        reference: index of its reference in `PatchSet.references`.
        codec: the codec, as the ladder names it; or the distortion, where no codec was at work.
        quality: the encoder's constant quality (CRF or QP), or the distortion's level; larger is worse.
        scale: the share of width and height that was coded.
        bytes: length of the coded clip; 0 without a codec.
        labels: VMAF in its versions and PSNR of luma, mean over the frames; None where one is not defined.
        shard: name of its shard.
        row: its row in the shard.
        depth: bit depth that was coded, where the ladder asked for one.
        first: name of the rung that it is a second generation of.
    """

    id: str
    content: str
    reference: int
    codec: str
    quality: int
    scale: float
    bytes: int
    labels: Labels
    shard: str
    row: int
    depth: int | None = None
    first: str | None = None


class EvaluationBatch(NamedTuple):
    """Whole patches in the set's order: two tensors (B, T, 3, H, W) in [0, 1], and the patches they are."""

    reference: Tensor
    distorted: Tensor
    entries: list[PatchEntry]


class PatchSet:
    """Reference and distorted patches with their labels; pixels stay on disk until they are asked for.

    Args:
        folder: a folder that `compressvqa.data.build.build` finished.
        index: the file that names the set's shards; by default that of the set that was built last.

    Raises:
        DataError: the folder holds no finished set, or one of another version.
    """

    def __init__(self, folder: str | Path, index: str = INDEX) -> None:
        self.folder = Path(folder)
        self._read(_read_json(self.folder / index))

    def _read(self, index: dict[str, Any]) -> None:
        if index.get("format") != FORMAT:
            raise DataError(f"patches of format {index.get('format')}", where=self.folder, hint="build them again")
        self.frames: int = index["frames"]
        self.size: int = index["size"]
        self.skipped: list[dict[str, str]] = index["skipped"]
        self.notes: list[str] = index["notes"]
        self.references: list[ReferenceEntry] = []
        self.entries: list[PatchEntry] = []
        self._colours: dict[str, Colour] = {}
        self.shards: list[str] = index["shards"]
        for shard in self.shards:
            self._add(shard, _read_json(self.folder / f"{shard}.json"))
        # Enough open files for any number of shards; a closed one is opened again when it is needed.
        self._array = functools.lru_cache(maxsize=256)(self._open)

    def _add(self, shard: str, facts: dict[str, Any]) -> None:
        first = len(self.references)
        content, colour = facts["content"], facts["colour"]
        self._colours[shard] = Colour(colour["bitdepth"], colour["matrix"], colour["full_range"])
        for row, place in enumerate(facts["references"]):
            self.references.append(ReferenceEntry(f"{shard}/{row}", content, shard, row, **place))
        for offset, made in enumerate(facts["distorted"]):
            row = len(facts["references"]) + offset
            place = made | {"reference": first + made["reference"]}
            self.entries.append(PatchEntry(id=f"{shard}/{row}", content=content, shard=shard, row=row, **place))

    def _open(self, shard: str) -> Samples:
        try:
            array: Samples = np.load(self.folder / f"{shard}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError("a shard is missing or damaged", where=self.folder / f"{shard}.npy",
                            hint="delete this folder and build it again") from error  # fmt: skip
        return array

    def __len__(self) -> int:
        return len(self.entries)

    def planes(self, patch: ReferenceEntry | PatchEntry) -> Planes:
        """A patch as planes, (frames, H, W) and chroma at half size; views of the file, nothing is read yet."""
        samples = self._array(patch.shard)[patch.row]
        return split_planes(samples, self.size, self.size, "420", self._colours[patch.shard])

    def load(self, index: int, *, box: tuple[int, int, int, int] | None = None) -> tuple[Planes, Planes]:
        """Reference and distorted planes of ``entries[index]``, or of a box (top, left, height, width) of them.

        A negative index ``~r`` is reference r itself, unchanged, beside itself.

        Raises:
            DataError: the box leaves the patch or begins between two chroma samples, or the shard is damaged.
        """
        if index < 0:
            reference = distorted = self.planes(self.references[~index])
        else:
            entry = self.entries[index]
            reference, distorted = self.planes(self.references[entry.reference]), self.planes(entry)
        return (reference, distorted) if box is None else (reference.crop(*box), distorted.crop(*box))

    def label(self, name: str) -> list[float | None]:
        """One label of every distorted patch, in order.

        Raises:
            DataError: no such label, or no patch has a value of it.
        """
        if name not in LABELS:
            raise DataError(f"unknown label {name!r}", hint=", ".join(LABELS))
        values = [entry.labels[name] for entry in self.entries]
        if all(value is None for value in values):
            raise DataError(f"no patch has the label {name}", where=self.folder,
                            hint="version 1 of VMAF needs patches of at least 256x256")  # fmt: skip
        return values

    def evaluation_batches(self, batch: int = 4, size: int | None = None) -> Iterator[EvaluationBatch]:
        """All distorted patches with their references, whole or (with `size`) their middle, in the set's order."""
        box = self._middle(size)
        for first in range(0, len(self), batch):
            entries = self.entries[first : first + batch]
            pairs = [self.load(first + offset, box=box) for offset in range(len(entries))]
            reference, distorted = (torch.stack([pair[which].to_rgb() for pair in pairs]) for which in (0, 1))
            yield EvaluationBatch(reference, distorted, entries)

    def reference_batches(self, batch: int = 4, size: int | None = None) -> Iterator[Tensor]:
        """All reference patches, (B, T, 3, H, W) in [0, 1]; else as `evaluation_batches`."""
        for first in range(0, len(self.references), batch):
            some = self.references[first : first + batch]
            yield torch.stack([self.planes(one).crop(*self._middle(size)).to_rgb() for one in some])

    def _middle(self, size: int | None) -> tuple[int, int, int, int]:
        side = self.size if size is None else min(size, self.size)
        corner = (self.size - side) // 4 * 2
        return corner, corner, side, side

    def summary(self) -> dict[str, Any]:
        """What the set holds, as plain values: counts, spread of each label, what was skipped and why."""
        labels = {}
        for name in LABELS:
            values = [value for entry in self.entries if (value := entry.labels[name]) is not None]
            if values:
                low, middle, high = np.percentile(values, [0, 50, 100])
                labels[name] = {
                    "lowest": float(low),
                    "median": float(middle),
                    "highest": float(high),
                    "histogram": np.histogram(values, 10)[0].tolist(),
                }
        return {
            "contents": len({entry.content for entry in self.entries}),
            "references": len(self.references),
            "patches": len(self.entries),
            "frames": self.frames,
            "size": self.size,
            "codecs": dict(sorted(Counter(entry.codec for entry in self.entries).items())),
            "labels": labels,
            "skipped": self.skipped,
            "notes": self.notes,
            # Shards' names change with everything that they depend on: equal identities are equal patches.
            "identity": hashlib.sha256("\n".join(self.shards).encode()).hexdigest()[:16],
        }


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DataError("no finished set of patches", where=path.parent, hint="`compressvqa data prepare` makes it")
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError("not the index of a set of patches", where=path)
    return value
