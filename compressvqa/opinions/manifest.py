"""What a data set of scored videos holds: one item a distorted file, and what its scores mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from compressvqa.errors import DataError
from compressvqa.video.clip import Clip
from compressvqa.video.frames import Chroma
from compressvqa.video.raw import RawFormat


@dataclass(frozen=True)
class Item:
    """One distorted file and what viewers (or a proxy) said of it.

    Args:
        distorted: path of the distorted file below the manifest's folder, with forward slashes.
        mos: its score.
        reference: path of the reference, None in a no-reference data set.
        std: standard deviation of the viewers' ratings of this item.
        ci: half width of the 95 % confidence interval of the score.
        ratings: how many viewers rated it.
        content: name of the scene; None: the reference's name, or the item's own.
        fps: frames a second of the distorted file, where the file does not say itself (headerless .yuv).
        reference_fps: of the reference, where it differs.
        width: luma samples in a row of a headerless file.
        height: its luma rows.
        pixel_format: its chroma subsampling.
        bitdepth: its bit depth.
        reference_width: of a headerless reference, where it differs from the distorted file's.
        reference_height: likewise.
        reference_bitdepth: likewise.
        split: "train", "val", "test" or any other name of a part of the data set.
        ladder: name of a series of encodes of one content whose order is known (one codec, one size, falling rate).
        rung: place on that ladder, 0 is the best.
    """

    distorted: str
    mos: float
    reference: str | None = None
    std: float | None = None
    ci: float | None = None
    ratings: int | None = None
    content: str | None = None
    fps: Fraction | None = None
    reference_fps: Fraction | None = None
    width: int | None = None
    height: int | None = None
    pixel_format: Chroma = "420"
    bitdepth: int = 8
    reference_width: int | None = None
    reference_height: int | None = None
    reference_bitdepth: int | None = None
    split: str | None = None
    ladder: str | None = None
    rung: int | None = None

    @property
    def scene(self) -> str:
        """Name of the content."""
        return self.content or self.reference or self.distorted


@dataclass(frozen=True)
class Manifest:
    """A data set: its items and the meaning of their scores.

    Args:
        name: the data set's name.
        folder: what the items' paths are relative to.
        items: the items.
        kind: "human" for scores of viewers, "proxy" for those of another metric, which are never called MOS.
        label: what the scores are: "MOS", "DMOS", "VMAF 0.6.1".
        higher_is_better: direction of the scores; False for DMOS as most data sets define it.
        scale: lowest and highest possible score.
        notes: what a reader of results should know, one sentence each.
    """

    name: str
    folder: Path
    items: tuple[Item, ...]
    kind: Literal["human", "proxy"] = "human"
    label: str = "MOS"
    higher_is_better: bool = True
    scale: tuple[float, float] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def no_reference(self) -> bool:
        """Whether the items have no reference."""
        return all(item.reference is None for item in self.items)

    def distorted(self, item: Item) -> Clip:
        """The distorted file of an item, with what it holds where it is headerless.

        Raises:
            DataError: a headerless file without width and height, or a grey one.
        """
        size = item.width, item.height
        raw = self._raw(item, item.distorted, size, item.bitdepth, item.fps)
        return Clip(self.folder / item.distorted, raw, frame_rate=item.fps)

    def reference(self, item: Item) -> Clip | None:
        """The reference of an item, None in a no-reference data set.

        Raises:
            DataError: as `distorted`.
        """
        if item.reference is None:
            return None
        size = item.reference_width or item.width, item.reference_height or item.height
        depth, fps = item.reference_bitdepth or item.bitdepth, item.reference_fps or item.fps
        return Clip(self.folder / item.reference, self._raw(item, item.reference, size, depth, fps), frame_rate=fps)

    def _raw(
        self, item: Item, name: str, size: tuple[int | None, int | None], bitdepth: int, fps: Fraction | None
    ) -> RawFormat | None:
        if Path(name).suffix.lower() not in (".yuv", ".raw"):
            return None
        width, height = size
        if width is None or height is None:
            raise DataError("a headerless file needs width and height in the manifest", where=self.folder / name)
        if item.pixel_format == "400":
            raise DataError("headerless grey video is not read", where=self.folder / name)
        return RawFormat(width, height, item.pixel_format, bitdepth, fps)
