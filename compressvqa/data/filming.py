"""Takes: short clips of a photograph under the virtual camera, and what else may happen in them.

Takes depend on the photograph's pixels and name, the take's number and the settings only: they are the same on every
machine, to rounding (captions: with the same Pillow).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data import camera_effects as effects
from compressvqa.data.overlays import Text, Thing
from compressvqa.data.virtual_camera import MOVES, Shot, at_least, load_photograph, shot_of
from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.matrices import LUMA_WEIGHTS, Matrix


@dataclass(frozen=True)
class Camera:
    """What else happens in takes, beside the camera's own move: the share of the takes that each thing happens in.

    Args:
        noise: the sensor's noise.
        motion_blur: a shutter that is open for long.
        focus: a lens out of focus, or changing its focus.
        exposure: a dark scene, or exposure that changes.
        objects: things that move by themselves in front of the scene.
        cuts: a cut to another place of the photograph.
        text: captions, or a line that scrolls.
        ten_bit: share of the photographs whose takes have 10 bit (all takes of one photograph have the same depth).

    Raises:
        DataError: a share outside 0 to 1.
    """

    noise: float = 0.0
    motion_blur: float = 0.0
    focus: float = 0.0
    exposure: float = 0.0
    objects: float = 0.0
    cuts: float = 0.0
    text: float = 0.0
    ten_bit: float = 0.0

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share <= 1:
                raise DataError(f"a share of {share} of the takes", where=f"camera.{name}", hint="0 to 1")

    def bitdepth(self, name: str) -> int:
        """8 or 10: the bit depth of the takes of a photograph."""
        return 10 if _happens(self.ten_bit, f"{name}/ten_bit") else 8


PLAIN = Camera()


def render_take(name: str, take: int, *, frames: int = 12, size: int = 256) -> Iterator[Planes]:
    """Frames of one plain take of a built-in photograph: 8 bit 4:2:0 BT.709, limited range, `size` x `size`.

    Args:
        name: file name of a photograph.
        take: number of the take; takes go through pan, zoom and parallax in turn, each at another place.
        frames: how many frames.
        size: width and height, even.
    """
    return film(load_photograph(name), name, take, frames=frames, size=size)


def film(
    photograph: Tensor, name: str, take: int, *, frames: int = 12, size: int = 256, camera: Camera = PLAIN
) -> Iterator[Planes]:
    """Frames of one take of a photograph: 4:2:0 BT.709, limited range, `size` x `size`, 8 or 10 bit.

    Args:
        photograph: (3, H, W) in [0, 1].
        name: its name; it and the take's number say what is drawn at random.
        take: number of the take; takes go through pan, zoom and parallax in turn, each at another place.
        frames: how many frames.
        size: width and height, even.
        camera: what else happens.
    """
    take_of = _Take.drawn(camera, f"{name}/{take}", at_least(photograph, size), MOVES[take % len(MOVES)], frames, size)
    for number in range(frames):
        yield to_planes(take_of.frame(number), camera.bitdepth(name))


@dataclass
class _Take:
    """What happens in one take."""

    shots: list[Shot]
    cut: int  # number of the first frame of the second shot
    things: list[Thing]
    shutter: float
    blur: effects.Curve
    stops: effects.Curve
    sensor: effects.Sensor | None
    noise: np.random.Generator
    text: Text | None

    @classmethod
    def drawn(cls, camera: Camera, what: str, photograph: Tensor, move: str, frames: int, size: int) -> _Take:
        take = cls([shot_of(_dice(what), photograph, move, frames, size)], frames, [], 0.0, np.zeros(frames),
                   np.zeros(frames), None, _dice(f"{what}/grain"), None)  # fmt: skip
        if frames > 1 and _happens(camera.cuts, f"{what}/cuts"):
            dice = _dice(f"{what}/cut")
            take.cut = int(dice.integers(max(1, frames // 4), max(2, frames - frames // 4)))
            other = MOVES[int(dice.integers(len(MOVES)))]
            take.shots.append(shot_of(dice, photograph.flip(-1), other, frames, size))
        if _happens(camera.objects, f"{what}/objects"):
            dice = _dice(f"{what}/things")
            take.things = [Thing.drawn(dice, photograph, size) for _ in range(int(dice.integers(1, 4)))]
        if _happens(camera.motion_blur, f"{what}/motion_blur"):
            take.shutter = _dice(f"{what}/shutter").uniform(0.3, 1.0)
        if _happens(camera.focus, f"{what}/focus"):
            take.blur = effects.focus_curve(_dice(f"{what}/lens"), frames)
        if _happens(camera.exposure, f"{what}/exposure"):
            take.stops = effects.exposure_curve(_dice(f"{what}/light"), frames)
        if _happens(camera.noise, f"{what}/noise"):
            take.sensor = effects.Sensor.drawn(take.noise)
        if _happens(camera.text, f"{what}/text"):
            take.text = Text.drawn(_dice(f"{what}/letters"), size)
        return take

    def frame(self, number: int) -> Tensor:
        """Frame `number`, (3, size, size) in [0, 1]; frames are asked for in order, as noise goes on."""
        shot = self.shots[0] if number < self.cut else self.shots[-1]
        picture = effects.open_shutter(functools.partial(self._scene, shot), number, self.shutter)
        picture = effects.exposed(effects.out_of_focus(picture, self.blur[number]), self.stops[number])
        picture = picture if self.sensor is None else self.sensor.noisy(picture, self.noise)
        return picture if self.text is None else self.text.over(picture, number)

    def _scene(self, shot: Shot, time: float) -> Tensor:
        picture = shot.at(time)
        for thing in self.things:
            picture = thing.over(picture, time)
        return picture


def _dice(what: str) -> np.random.Generator:
    """Random numbers that depend on a name only: one thing's numbers don't move when another thing is left out."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "little"))


def _happens(share: float, what: str) -> bool:
    return share > 0 and bool(_dice(what).random() < share)


def to_planes(picture: Tensor, bitdepth: int = 8, matrix: Matrix = "bt709") -> Planes:
    """RGB, (3, H, W) in [0, 1], as 4:2:0, limited range, of 8 or 10 bit; H and W even."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kind, scale = (torch.uint8, 1) if bitdepth == 8 else (torch.int32, 2 ** (bitdepth - 8))
    r, g, b = picture
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = ((b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr)))
    small = functional.avg_pool2d(torch.stack([u, v])[None], 2)[0] * (224 * scale) + 128 * scale
    codes = [(y * (219 * scale) + 16 * scale).round().to(kind).numpy(), *small.round().to(kind).numpy()]
    if bitdepth > 8:
        codes = [code.astype(np.uint16) for code in codes]
    return Planes(codes[0], codes[1], codes[2], "420", Colour(bitdepth, matrix, False))
