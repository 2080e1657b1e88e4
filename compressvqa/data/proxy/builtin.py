"""A proxy set of the built-in content: takes of the virtual camera through the ladder, so that recipes run anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from compressvqa.data import virtual_camera
from compressvqa.data.filming import render_take
from compressvqa.data.ladder import Rung
from compressvqa.data.proxy.build import build_proxy_set
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.progress import Progress
from compressvqa.video.clip import Clip
from compressvqa.video.raw import write_y4m

NAME = "builtin"
FRAMES, SIZE = 12, 256
TAKES: dict[Literal["train", "validation"], int] = {"train": 2, "validation": 1}
# VMAF 0.6.1 of these takes spreads over about 20 to 99.
LADDER: tuple[Rung, ...] = (
    *(Rung("x264", quality) for quality in (22, 32, 41)),
    Rung("x264", 36, 0.5),
    *(Rung("x265", quality) for quality in (30, 40)),
    Rung("svt-av1", 58),
    Rung("svt-av1", 48, 0.5),
    Rung("vp9", 54),
    Rung("vvc", 44, 0.5),
)


def builtin_set(
    folder: str | Path, *, ladder: Sequence[Rung] = LADDER, workers: int | None = None, progress: Progress | None = None
) -> Manifest:
    """Encodes of the built-in photographs under the virtual camera, with VMAF 0.6.1 as their score.

    Each item's `split` is "train" or "validation"; the two share no photograph. A finished set returns at once, and a
    killed build goes on.

    Args:
        folder: where takes and encodes lie.
        ladder: how each take is distorted.
        workers: encoders that run at a time; None: one for each core.
        progress: called with (encodes done, encodes in all).

    Raises:
        MissingExtraError: scikit-image, which holds the photographs, is not installed.
        DataError: ffmpeg lacks what it takes.
    """
    folder = Path(folder)
    splits: dict[str, str] = {}
    takes: list[str | Path | Clip] = []
    for part, count in TAKES.items():
        for photograph in virtual_camera.photographs(part):
            for number in range(count):
                file = folder / "takes" / f"{Path(photograph).stem}-{number}-v{virtual_camera.VERSION}.y4m"
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    temporary = file.with_suffix(".part")
                    write_y4m(temporary, render_take(photograph, number, frames=FRAMES, size=SIZE))
                    temporary.replace(file)
                splits[file.stem] = part
                takes.append(file)
    manifest = build_proxy_set(
        takes, folder / "set", ladder=ladder, frames=FRAMES, start=0, downscale=1, name=NAME, workers=workers,
        progress=progress,
    )  # fmt: skip
    return replace(manifest, items=tuple(_in_its_split(item, splits) for item in manifest.items))


def _in_its_split(item: Item, splits: dict[str, str]) -> Item:
    assert item.content is not None  # the builder names every content
    photograph = item.content.rsplit("-", 2)[0]
    return replace(item, split=splits[item.content], content=photograph)
