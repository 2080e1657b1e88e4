"""A virtual camera that films photographs: those that ship inside scikit-image's wheel, or any others.

A *take* is a short clip of one photograph. The camera pans, zooms, or sees two layers that move at different speeds
(parallax). Every pixel is the mean of four sub-pixel samples read with cubic interpolation from a picture that was
blurred to the camera's resolution first, so that slow motion neither flickers nor aliases. What else may happen in a
take is set by `Camera`. Takes depend on the photograph's pixels and name, the take's number and these settings only:
they are the same on every machine, to rounding (captions: with the same Pillow).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data import camera_effects as effects
from compressvqa.data.frames import LUMA_WEIGHTS, Colour, Matrix, Planes
from compressvqa.data.overlays import Text, Thing
from compressvqa.data.pictures import read_picture
from compressvqa.errors import DataError, MissingExtraError

# Told apart by photograph, so that nothing seen in training is seen in validation. Both hold people or things,
# natural texture, and something far away; the package's drawings and blurred pictures are left out.
TRAIN = (
    "astronaut.png", "motorcycle_left.png", "grass.png", "chelsea.png", "hubble_deep_field.jpg", "brick.png",
    "ihc.png", "page.png", "moon.png", "retina.jpg",
)  # fmt: skip
VALIDATION = ("coffee.png", "camera.png", "rocket.jpg", "gravel.png", "coins.png", "text.png")
MOVES: tuple[Literal["pan", "zoom", "parallax"], ...] = ("pan", "zoom", "parallax")
# Changes with anything that changes the pictures, so that shards of an older camera are not taken for these.
VERSION = 1
# A photograph of a file is kept at so many times a take's side: room to move and to look from further away.
ROOM = 3


def photographs(part: Literal["train", "validation"]) -> list[str]:
    """File names of the photographs of one part."""
    return list(TRAIN if part == "train" else VALIDATION)


def load_photograph(name: str) -> Tensor:
    """A photograph as (3, H, W), float32 in [0, 1]; a grey one has three equal channels.

    Raises:
        MissingExtraError: scikit-image is not installed.
        DataError: the installed scikit-image does not hold it.
    """
    try:
        import skimage
        from skimage.io import imread
    except ImportError as error:
        raise MissingExtraError("scikit-image", "demo") from error
    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        raise DataError(f"this scikit-image does not hold the photograph {name}", where=path,
                        hint="pip install 'scikit-image>=0.24'")  # fmt: skip
    pixels = np.asarray(imread(path))
    pixels = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float().div_(255)


def open_photograph(path: Path, size: int) -> Tensor:
    """A photograph of a file for takes of a size: (3, H, W), float32 in [0, 1]; a large one is made smaller.

    Args:
        path: the file.
        size: width and height of the takes. The short side becomes `ROOM` times as long at most, which averages away
            much of what the photograph's own coding did.

    Raises:
        DataError: no picture that can be read, or one smaller than a take.
    """
    photograph = read_picture(path).to_rgb()
    short = min(photograph.shape[1:])
    if short < size:
        width, height = photograph.shape[2], photograph.shape[1]
        raise DataError(f"a photograph of {width}x{height} is smaller than a patch of {size}x{size}", where=path)
    if short <= ROOM * size:
        return photograph
    sides = [round(side * ROOM * size / short) for side in photograph.shape[1:]]
    smaller = functional.interpolate(photograph[None], sides, mode="bicubic", antialias=True, align_corners=False)
    return smaller[0].clamp_(0, 1)


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


@dataclass(frozen=True)
class Path2D:
    """Where the camera looks: the view's top left corner (in photograph pixels) and scale, frame by frame."""

    top: np.ndarray[Any, np.dtype[np.float64]]
    left: np.ndarray[Any, np.dtype[np.float64]]
    scale: np.ndarray[Any, np.dtype[np.float64]]

    def at(self, time: float) -> tuple[float, float, float]:
        """(top, left, scale) at a moment counted in frames; a little before the first and after the last one too."""
        first = min(max(int(np.floor(time)), 0), max(0, len(self.top) - 2))
        share = time - first
        top, left, scale = (_between(line, first, share) for line in (self.top, self.left, self.scale))
        return top, left, scale


def _between(line: np.ndarray[Any, np.dtype[np.float64]], first: int, share: float) -> float:
    # A whole frame is read as it is, so that a plain take does not depend on rounding here.
    return float(line[first] if share == 0 or len(line) == 1 else line[first] + share * (line[first + 1] - line[first]))


@dataclass(frozen=True)
class Shot:
    """One run of the camera over a photograph: (picture, path, mask) of each layer, the furthest first.

    A mask, (1, 3 * size, 3 * size), is the hole that a nearer layer is seen through.
    """

    layers: tuple[tuple[Tensor, Path2D, Tensor | None], ...]
    size: int

    def at(self, time: float) -> Tensor:
        """The view at a moment counted in frames, (3, size, size) in [0, 1]."""
        picture = torch.zeros(3, self.size, self.size)
        for source, path, mask in self.layers:
            top, left, scale = path.at(time)
            view = _look(source, top, left, scale, self.size)
            if mask is None:
                picture = view
            else:
                # The hole is drawn in the nearer layer's own coordinates: it moves with what is seen through it.
                alpha = _slide(mask, (top - path.top[0]) / scale, (left - path.left[0]) / scale, self.size)
                picture = alpha * view + (1 - alpha) * picture
        return picture


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
    photograph, move, what = _at_least(photograph, size), MOVES[take % len(MOVES)], f"{name}/{take}"
    shots = [_shot(_dice(what), photograph, move, frames, size)]
    cut = frames
    if frames > 1 and _happens(camera.cuts, f"{what}/cuts"):
        dice = _dice(f"{what}/cut")
        cut = int(dice.integers(max(1, frames // 4), max(2, frames - frames // 4)))
        shots.append(_shot(dice, photograph.flip(-1), MOVES[int(dice.integers(len(MOVES)))], frames, size))
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


def _shot(dice: np.random.Generator, photograph: Tensor, move: str, frames: int, size: int) -> Shot:
    back = _path(dice, photograph.shape[-2:], frames, size, zoom=move == "zoom")
    layers: list[tuple[Tensor, Path2D, Tensor | None]] = [(photograph, back, None)]
    if move == "parallax":
        # The nearer layer is another look at the same photograph through a soft, irregular hole, and moves faster.
        front = _path(dice, photograph.shape[-2:], frames, size, zoom=False, speed=2.0)
        layers.append((photograph, front, _blobs(dice, size)))
    return Shot(tuple(layers), size)


def _at_least(photograph: Tensor, size: int) -> Tensor:
    """A photograph with room for the camera to move: small ones are enlarged."""
    room = 1.25 * size / min(photograph.shape[-2:])
    if room <= 1:
        return photograph
    larger = functional.interpolate(photograph[None], scale_factor=room, mode="bicubic", align_corners=False)
    return larger[0].clamp_(0, 1)


def _path(
    rng: np.random.Generator, room: tuple[int, ...], frames: int, size: int, *, zoom: bool, speed: float = 1.0
) -> Path2D:
    H, W = room
    margin = 2.0
    widest = (min(H, W) - 2 * margin) / size
    # Scale: photograph pixels per pixel of the clip. Large photographs are seen from further away.
    scale = widest * rng.uniform(0.62, 0.92) if widest < 1.6 else rng.uniform(0.9, min(2.2, 0.92 * widest))
    ratio = rng.choice([-1, 1]) * rng.uniform(0.004, 0.012) if zoom else rng.uniform(-0.001, 0.001)
    scales = scale * np.exp(ratio * (np.arange(frames) - (frames - 1) / 2))
    angle, step = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2 if zoom else 3.0) * speed * scale
    time = np.arange(frames) + 0.15 * np.sin(rng.uniform(0, 6) + np.arange(frames) * 0.9)  # a hand is not a rail
    rows, columns = step * np.sin(angle) * time, step * np.cos(angle) * time
    view = size * scales
    # Zooming keeps the middle where it is.
    rows, columns = rows - (view - view[0]) / 2, columns - (view - view[0]) / 2
    rows, columns = (_fitted(line, view, side, margin, rng) for line, side in ((rows, H), (columns, W)))
    return Path2D(rows, columns, scales)


def _fitted(line: Any, view: Any, side: int, margin: float, rng: np.random.Generator) -> Any:
    """Moves a line of positions to a random place where every view lies inside; shortens it if it must."""
    free = side - 2 * margin - view.max()
    span = line.max() - line.min()
    if span > free:
        line = line * max(free, 0.0) / span
    lowest = margin - line.min()
    highest = (side - margin - view - line).min()
    return line + rng.uniform(lowest, max(lowest, highest))


def _look(photograph: Tensor, top: float, left: float, scale: float, size: int) -> Tensor:
    H, W = photograph.shape[-2:]
    fine = 2 * size
    steps = (torch.arange(fine, dtype=torch.float64) + 0.5) / 2 * scale
    rows, columns = (top + steps) / H * 2 - 1, (left + steps) / W * 2 - 1
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).float()
    seen = functional.grid_sample(_blurred(photograph, scale)[None], grid[None], mode="bicubic",
                                  padding_mode="border", align_corners=False)  # fmt: skip
    return functional.avg_pool2d(seen, 2)[0].clamp_(0, 1)


def _blurred(photograph: Tensor, scale: float) -> Tensor:
    """Removes what a camera of this scale can't resolve; the four samples of a pixel do the rest up to scale 2."""
    if scale <= 1.5:
        return photograph
    sigma = 0.35 * scale
    radius = int(np.ceil(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, -1)
    padded = functional.pad(photograph[None], (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, taps[:, :, :, None], groups=3)
    return functional.conv2d(rows, taps[:, :, None, :], groups=3)[0]


def _blobs(rng: np.random.Generator, size: int) -> Tensor:
    """A soft mask, (1, 3 * size, 3 * size), about half of it 1: smooth noise cut at its middle."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 8, 8))).float()
    smooth = functional.interpolate(coarse, size=3 * size, mode="bicubic", align_corners=False)[0]
    return torch.sigmoid((smooth - smooth.median()) * 12)


def _slide(mask: Tensor, down: float, right: float, size: int) -> Tensor:
    side = mask.shape[-1]
    steps = torch.arange(size, dtype=torch.float64) + size + 0.5
    rows, columns = (steps + down) / side * 2 - 1, (steps + right) / side * 2 - 1
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).float()
    seen = functional.grid_sample(mask[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return seen[0]


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
