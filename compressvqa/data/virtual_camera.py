"""Built-in content: photographs that ship inside scikit-image's wheel, filmed by a virtual camera.

A *take* is a short clip of one photograph. The camera pans, zooms, or sees two layers that move at different speeds
(parallax). Every pixel is the mean of four sub-pixel samples read with cubic interpolation from a picture that was
blurred to the camera's resolution first, so that slow motion neither flickers nor aliases. Takes depend on the
photograph's name, the take's number and the size only: they are the same on every machine, to rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data.frames import LUMA_WEIGHTS, Colour, Planes
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


@dataclass(frozen=True)
class Path2D:
    """Where the camera looks: the view's top left corner (in photograph pixels) and scale, frame by frame."""

    top: np.ndarray[Any, np.dtype[np.float64]]
    left: np.ndarray[Any, np.dtype[np.float64]]
    scale: np.ndarray[Any, np.dtype[np.float64]]


def render_take(name: str, take: int, *, frames: int = 12, size: int = 256) -> Iterator[Planes]:
    """Frames of one take: 8 bit 4:2:0 BT.709, limited range, `size` x `size`.

    Args:
        name: file name of a photograph.
        take: number of the take; takes go through pan, zoom and parallax in turn, each at another place.
        frames: how many frames.
        size: width and height, even.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{name}/{take}".encode()).digest()[:8], "little"))
    photograph = _at_least(load_photograph(name), size)
    move = MOVES[take % len(MOVES)]
    back = _path(rng, photograph.shape[-2:], frames, size, zoom=move == "zoom")
    layers: list[tuple[Tensor, Path2D, Tensor | None]] = [(photograph, back, None)]
    if move == "parallax":
        # The nearer layer is another look at the same photograph through a soft, irregular hole, and moves faster.
        front = _path(rng, photograph.shape[-2:], frames, size, zoom=False, speed=2.0)
        layers.append((photograph, front, _blobs(rng, size)))
    for number in range(frames):
        picture = torch.zeros(3, size, size)
        for source, path, mask in layers:
            view = _look(source, path, number, size)
            if mask is None:
                picture = view
            else:
                # The hole is drawn in the nearer layer's own coordinates: it moves with what is seen through it.
                shift = (path.top[number] - path.top[0], path.left[number] - path.left[0])
                alpha = _slide(mask, shift[0] / path.scale[number], shift[1] / path.scale[number], size)
                picture = alpha * view + (1 - alpha) * picture
        yield to_planes(picture)


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


def _look(photograph: Tensor, path: Path2D, number: int, size: int) -> Tensor:
    top, left, scale = float(path.top[number]), float(path.left[number]), float(path.scale[number])
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


def to_planes(picture: Tensor) -> Planes:
    """RGB, (3, H, W) in [0, 1], as 8 bit 4:2:0 BT.709 limited range; H and W even."""
    kr, kb = LUMA_WEIGHTS["bt709"]
    r, g, b = picture
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = ((b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr)))
    small = functional.avg_pool2d(torch.stack([u, v])[None], 2)[0] * 224 + 128
    codes = [(y * 219 + 16).round().to(torch.uint8).numpy(), *small.round().to(torch.uint8).numpy()]
    return Planes(codes[0], codes[1], codes[2], "420", Colour(8, "bt709", False))
