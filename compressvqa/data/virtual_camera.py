"""A virtual camera and its photographs: those that ship inside scikit-image's wheel, or any others.

The camera pans, zooms, or sees two layers that move at different speeds (parallax). Every pixel is the mean of four
sub-pixel samples read with cubic interpolation from a picture that was blurred to the camera's resolution first, so
that slow motion neither flickers nor aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.errors import DataError, MissingExtraError
from compressvqa.video.pictures import read_picture

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


def shot_of(dice: np.random.Generator, photograph: Tensor, move: str, frames: int, size: int) -> Shot:
    """A run of the camera over a photograph, (3, H, W), at a place and of a speed that are drawn.

    Args:
        dice: where from.
        photograph: at least `size` high and wide, see `at_least`.
        move: one of `MOVES`.
        frames: how many frames.
        size: width and height of the view.
    """
    back = _path(dice, photograph.shape[-2:], frames, size, zoom=move == "zoom")
    layers: list[tuple[Tensor, Path2D, Tensor | None]] = [(photograph, back, None)]
    if move == "parallax":
        # The nearer layer is another look at the same photograph through a soft, irregular hole, and moves faster.
        front = _path(dice, photograph.shape[-2:], frames, size, zoom=False, speed=2.0)
        layers.append((photograph, front, _blobs(dice, size)))
    return Shot(tuple(layers), size)


def at_least(photograph: Tensor, size: int) -> Tensor:
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
