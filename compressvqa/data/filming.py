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
from compressvqa.data.frames import LUMA_WEIGHTS, Colour, Matrix, Planes
from compressvqa.data.overlays import Text, Thing
from compressvqa.data.virtual_camera import MOVES, Shot, at_least, load_photograph, shot_of
from compressvqa.errors import DataError


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
    photograph, move, what = at_least(photograph, size), MOVES[take % len(MOVES)], f"{name}/{take}"
    shots = [shot_of(_dice(what), photograph, move, frames, size)]
    cut = frames
    if frames > 1 and _happens(camera.cuts, f"{what}/cuts"):
        dice = _dice(f"{what}/cut")
        cut = int(dice.integers(max(1, frames // 4), max(2, frames - frames // 4)))
        shots.append(shot_of(dice, photograph.flip(-1), MOVES[int(dice.integers(len(MOVES)))], frames, size))
    things: list[Thing] = []
    if _happens(camera.objects, f"{what}/objects"):
        dice = _dice(f"{what}/things")
        things = [Thing.drawn(dice, photograph, size) for _ in range(int(dice.integers(1, 4)))]
    shutter = _dice(f"{what}/shutter").uniform(0.3, 1.0) if _happens(camera.motion_blur, f"{what}/motion_blur") else 0.0
    blur, stops = np.zeros(frames), np.zeros(frames)
    if _happens(camera.focus, f"{what}/focus"):
        blur = effects.focus_curve(_dice(f"{what}/lens"), frames)
    if _happens(camera.exposure, f"{what}/exposure"):
        stops = effects.exposure_curve(_dice(f"{what}/light"), frames)
    noise = _dice(f"{what}/grain")
    sensor = effects.Sensor.drawn(noise) if _happens(camera.noise, f"{what}/noise") else None
    text = Text.drawn(_dice(f"{what}/letters"), size) if _happens(camera.text, f"{what}/text") else None

    def scene(time: float, shot: Shot) -> Tensor:
        picture = shot.at(time)
        for thing in things:
            picture = thing.over(picture, time)
        return picture

    for number in range(frames):
        shot = shots[0] if number < cut else shots[-1]
        picture = effects.open_shutter(functools.partial(scene, shot=shot), number, shutter)
        picture = effects.exposed(effects.out_of_focus(picture, blur[number]), stops[number])
        picture = picture if sensor is None else sensor.noisy(picture, noise)
        picture = picture if text is None else text.over(picture, number)
        yield to_planes(picture, camera.bitdepth(name))


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
