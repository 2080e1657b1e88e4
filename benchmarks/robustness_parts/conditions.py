"""Conditions: what is done to a reference before it is encoded, and the ladder that it goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from compressvqa.data.filming import PLAIN
from compressvqa.data.ladder import CODECS, Codec, Rung
from compressvqa.data.media import media_sources
from compressvqa.data.sources import Cutting
from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes, Samples, split_planes
from compressvqa.video.raw import write_y4m

SIDE = 256
LADDERS: dict[str, tuple[int, ...]] = {
    "x264": (22, 28, 34, 40, 46),
    "x265": (24, 30, 36, 42, 48),
    "svt-av1": (30, 42, 52, 58, 63),
    "vp9": (32, 44, 52, 58, 63),
    "vvc": (26, 32, 38, 44, 50),
}
# Encoders that no recipe here trains on: older ones with other transforms and filters, and another AV1 encoder.
UNSEEN = {
    "mpeg2": Codec("mpeg2video", lambda q: ["-qscale:v", str(q), "-threads", "1"], 31, (8,), chromas=("420",)),
    "mpeg4": Codec("mpeg4", lambda q: ["-qscale:v", str(q), "-threads", "1"], 31, (8,), chromas=("420",)),
    "aom-av1": Codec(
        "libaom-av1", lambda q: ["-crf", str(q), "-cpu-used", "8", "-b:v", "0", "-threads", "1"], 63, chromas=("420",)
    ),
}


@contextmanager
def unseen_encoders() -> Iterator[None]:
    """While it lasts the package encodes with them too."""
    CODECS.update(UNSEEN)
    try:
        yield
    finally:
        for name in UNSEEN:
            del CODECS[name]


OTHER_LADDERS: dict[str, tuple[int, ...]] = {
    "mpeg2": (2, 6, 12, 20, 31),
    "mpeg4": (2, 6, 12, 20, 31),
    "aom-av1": (30, 42, 52, 58, 63),
}
with unseen_encoders():
    OTHERS = tuple(Rung(codec, quality) for codec, ladder in OTHER_LADDERS.items() for quality in ladder)
ALL = tuple(Rung(codec, quality) for codec, ladder in LADDERS.items() for quality in ladder)
# Two encoders that differ in kind are enough to see what a condition does.
FEW = tuple(Rung(codec, quality) for codec in ("x264", "svt-av1") for quality in LADDERS[codec][::2])
Change = Callable[[Planes, "Planes | None"], Planes]


@dataclass(frozen=True)
class Condition:
    """What references become.

    Args:
        name: of it.
        what: in a few words.
        change: (a stack of frames, that of the next content) -> the reference's frames.
        ladder: how it is encoded.
        rate: frames a second that the file states.
    """

    name: str
    what: str
    change: Change
    ladder: tuple[Rung, ...] = FEW
    rate: Fraction = Fraction(25)


def _each(planes: Planes, change: Callable[[Samples], Samples]) -> Planes:
    """The same change of every plane."""
    assert planes.u is not None and planes.v is not None
    return replace(planes, y=change(planes.y), u=change(planes.u), v=change(planes.v))


def _size(height: int, width: int) -> Change:
    def change(planes: Planes, _: Planes | None) -> Planes:
        H, W = planes.size
        cut = planes.crop((H - height) // 4 * 2, (W - width) // 4 * 2, height, width)
        return _each(cut, np.ascontiguousarray)

    return change


def _resized(plane: Samples, side: tuple[int, int], mode: str) -> Samples:
    values = torch.from_numpy(plane.astype(np.float32))[:, None]
    options = {} if mode == "area" else {"align_corners": False}
    made = torch.nn.functional.interpolate(values, side, mode=mode, **options)[:, 0]
    top = 255 if plane.dtype == np.uint8 else 1023
    return made.round().clamp(0, top).numpy().astype(plane.dtype)


def _upscaled(planes: Planes, _: Planes | None) -> Planes:
    """Half of the size and back: a source without fine detail."""

    def change(plane: Samples) -> Samples:
        height, width = plane.shape[1:]
        return _resized(_resized(plane, (height // 2, width // 2), "area"), (height, width), "bicubic")

    return _each(planes, change)


def _ten_bit(planes: Planes, _: Planes | None) -> Planes:
    """Four times the codes, with a fixed dither in the two new bits."""
    dither = np.random.default_rng(0)

    def change(plane: Samples) -> Samples:
        return plane.astype(np.uint16) * 4 + dither.integers(0, 4, plane.shape, dtype=np.uint16)

    return replace(_each(planes, change), colour=replace(planes.colour, bitdepth=10))


def _dark(planes: Planes, _: Planes | None) -> Planes:
    """An eighth of the light, gamma-coded: luma and chroma at .4 of their distance from black and grey."""
    assert planes.u is not None and planes.v is not None

    def towards(plane: Samples, zero: int) -> Samples:
        return np.rint(zero + 0.4 * (plane.astype(np.float32) - zero)).astype(plane.dtype)

    return replace(planes, y=towards(planes.y, 16), u=towards(planes.u, 128), v=towards(planes.v, 128))


def _grainy(planes: Planes, _: Planes | None) -> Planes:
    """Gaussian grain on luma, standard deviation 6 of 255, another one in each frame."""
    grain = np.random.default_rng(0).normal(0, 6, planes.y.shape)
    return replace(planes, y=np.clip(np.rint(planes.y + grain), 16, 235).astype(planes.y.dtype))


def _cut(planes: Planes, other: Planes | None) -> Planes:
    """The first three eighths of one content, then another: the cut lies inside a block of 12 frames."""
    assert other is not None
    at = 3 * len(planes.y) // 8

    def joined(name: str) -> Samples:
        return np.concatenate([getattr(planes, name)[:at], getattr(other, name)[at:]])

    return replace(planes, y=joined("y"), u=joined("u"), v=joined("v"))


def _static(planes: Planes, _: Planes | None) -> Planes:
    return _each(planes, lambda plane: np.repeat(plane[:1], len(plane), axis=0))


def _black(planes: Planes, _: Planes | None) -> Planes:
    assert planes.u is not None and planes.v is not None
    grey = np.full_like(planes.u, 128)
    return replace(planes, y=np.full_like(planes.y, 16), u=grey, v=grey.copy())


def _plain(planes: Planes, _: Planes | None) -> Planes:
    return planes


CONDITIONS = (
    Condition("plain", "256x256, 8 bit, 25 frames a second, five encoders", _plain, ALL),
    Condition("other encoders", "MPEG-2, MPEG-4 part 2 and libaom's AV1, which no recipe trains on", _plain, OTHERS),
    Condition("upscaled", "a source of half the size", _upscaled),
    Condition("10-bit", "10 bit", _ten_bit),
    Condition("dark", "an eighth of the light", _dark),
    Condition("grainy", "grain of standard deviation 6", _grainy),
    Condition("odd", "odd sides: 253x191", _size(191, 253)),
    Condition("tiny", "96x96", _size(96, 96)),
    Condition("4:3", "256x192", _size(192, 256)),
    Condition("vertical", "144x256", _size(256, 144)),
    Condition("24 fps", "states 24 frames a second", _plain, rate=Fraction(24)),
    Condition("60 fps", "states 60 frames a second", _plain, rate=Fraction(60)),
    Condition("cut", "a scene cut inside a block", _cut),
    Condition("static", "a still picture", _static),
    Condition("black", "black", _black),
)


def references(places: Sequence[str], contents: int, frames: int) -> dict[str, Planes]:
    """{content: a stack of frames, 256x256, 8 bit} of photographs under the virtual camera, or of videos.

    Args:
        places: folders, files, or "builtin": the photographs that built-in training keeps apart.
        contents: how many at most.
        frames: frames of each.

    Raises:
        DataError: there are fewer than three that can be used: no order of contents could be told.
    """
    found: dict[str, Planes] = {}
    cutting = Cutting(1, frames, SIDE, "auto")
    for source in media_sources(list(places), part="validation", camera=PLAIN, takes=1, raw=None):
        if len(found) == contents:
            break
        try:
            cut = source.cut(cutting)[0]
        except DataError as error:
            print(f"left out {source.content}: {error}")
            continue
        found[source.content] = split_planes(cut.samples, SIDE, SIDE, "420", cut.colour)
    if len(found) < 3:
        raise DataError(f"{len(found)} contents are too few", hint="three at least")
    return found


def write(condition: Condition, planes: dict[str, Planes], folder: Path) -> list[Path]:
    """Writes the condition's references as Y4M, one file a content; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    names, paths = list(planes), []
    for number, name in enumerate(names):
        path = folder / f"{Path(name).stem}.y4m"
        if not path.exists():
            eight = _as_eight_bit(planes[name])
            made = condition.change(eight, _as_eight_bit(planes[names[(number + 1) % len(names)]]))
            write_y4m(path, [_frame(made, t) for t in range(len(made.y))], condition.rate)
        paths.append(path)
    return paths


def _as_eight_bit(planes: Planes) -> Planes:
    if planes.colour.bitdepth == 8:
        return planes
    step = 2 ** (planes.colour.bitdepth - 8)
    eight = _each(planes, lambda plane: np.minimum(np.rint(plane / step), 255).astype(np.uint8))
    return replace(eight, colour=Colour(8, planes.colour.matrix, planes.colour.full_range))


def _frame(planes: Planes, t: int) -> Planes:
    return _each(planes, lambda plane: plane[t])
