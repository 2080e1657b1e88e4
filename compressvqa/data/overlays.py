"""What lies over a filmed picture: things that move by themselves, and text that was put in afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

# Syllables of made-up words: text of any length that is nobody's.
SYLLABLES = ("ba", "den", "fir", "ka", "lo", "men", "nu", "or", "pi", "ras", "sto", "tel", "un", "ver", "wi", "zon")
COLOURS = ((255, 255, 255), (255, 255, 255), (250, 230, 60), (20, 20, 20), (120, 200, 255))


@dataclass(frozen=True)
class Thing:
    """A soft-edged piece of a photograph that moves over the picture.

    Args:
        pixels: (3, h, w) in [0, 1].
        alpha: (1, h, w) in [0, 1]; 0 along the border.
        row: of its top line at frame 0, in pixels of the picture.
        column: of its left one.
        speed: (rows, columns) that it moves from frame to frame.
    """

    pixels: Tensor
    alpha: Tensor
    row: float
    column: float
    speed: tuple[float, float]

    @classmethod
    def drawn(cls, rng: np.random.Generator, photograph: Tensor, size: int) -> Thing:
        """A piece from anywhere of a photograph (3, H, W), a fifth to a half as large as the picture."""
        side = int(min(size * rng.uniform(0.2, 0.5), *photograph.shape[1:]))
        top, left = (int(rng.integers(0, room - side + 1)) for room in photograph.shape[1:])
        pixels = photograph[:, top : top + side, left : left + side]
        pace, angle = rng.uniform(0.5, 6), rng.uniform(0, 2 * math.pi)
        row, column = (float(rng.uniform(-0.2, 0.8) * size) for _ in range(2))
        return cls(pixels, _blob(rng, side), row, column, (pace * math.sin(angle), pace * math.cos(angle)))

    def over(self, picture: Tensor, time: float) -> Tensor:
        """The picture, (3, H, W), with the thing where it is at a moment counted in frames."""
        layer = torch.cat([self.pixels, self.alpha])
        row, column = self.row + self.speed[0] * time, self.column + self.speed[1] * time
        shown = _placed(layer, row, column, picture.shape[1], picture.shape[2])
        alpha = shown[3:]
        return alpha * shown[:3] + (1 - alpha) * picture


def _blob(rng: np.random.Generator, side: int) -> Tensor:
    """A round mask with a wavy edge that fades within a few pixels; (1, side, side)."""
    line = torch.linspace(-1, 1, side)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    angle, radius = torch.atan2(rows, columns), (rows**2 + columns**2).sqrt()
    edge = 0.75 + sum(float(rng.uniform(0, 0.07)) * torch.cos(n * angle + float(rng.uniform(0, 6))) for n in (2, 3, 5))
    return torch.sigmoid((edge - radius) * side / 3)[None] * (radius < 0.98)


def _placed(layer: Tensor, row: float, column: float, height: int, width: int) -> Tensor:
    """A layer (C, h, w) on an empty picture (C, height, width), its corner between pixels if need be."""
    h, w = layer.shape[1:]
    rows = ((torch.arange(height) + 0.5 - row) / h * 2 - 1).clamp(-3, 3)
    columns = ((torch.arange(width) + 0.5 - column) / w * 2 - 1).clamp(-3, 3)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
    shown = functional.grid_sample(layer[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return shown[0]


@dataclass(frozen=True)
class Text:
    """Text over the picture: a caption that stands still, or a line that scrolls.

    Args:
        pixels: (3, h, w) in [0, 1].
        alpha: (1, h, w) in [0, 1].
        row: of its top line.
        column: of its left one at frame 0.
        speed: columns that it moves to the left from frame to frame.
    """

    pixels: Tensor
    alpha: Tensor
    row: float
    column: float
    speed: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int) -> Text:
        """One to three lines of caption, or one long line that scrolls; letters from a 28th to a 9th of the height."""
        scrolls = rng.random() < 0.35
        height = max(9, int(size * float(np.exp(rng.uniform(np.log(1 / 28), np.log(1 / 9))))))
        count = 1 if scrolls else int(rng.integers(1, 4))
        letters = int((3 if scrolls else 0.9) * size / (0.6 * height))
        lines = "\n".join(_line(rng, letters) for _ in range(count))
        colour = COLOURS[int(rng.integers(len(COLOURS)))]
        rgba = _written(lines, height, colour, boxed=rng.random() < 0.4)
        row = float(rng.uniform(0.02, 0.98) * max(0, size - rgba.shape[1]))
        if rng.random() < 0.6:  # most captions stand near the lower edge
            row = max(0.0, 0.95 * size - rgba.shape[1])
        column = float(round((size - rgba.shape[2]) / 2)) if not scrolls else float(rng.uniform(-size, 0.3 * size))
        speed = float(rng.uniform(1, 5)) if scrolls else 0.0
        return cls(rgba[:3], rgba[3:], round(row), column, speed)

    def over(self, picture: Tensor, number: int) -> Tensor:
        """The picture, (3, H, W), with the text as frame `number` shows it."""
        layer = torch.cat([self.pixels * self.alpha, self.alpha])
        shown = _placed(layer, self.row, self.column - self.speed * number, picture.shape[1], picture.shape[2])
        return shown[:3] + (1 - shown[3:]) * picture


def _line(rng: np.random.Generator, letters: int) -> str:
    """Made-up words and numbers of about so many letters."""
    words: list[str] = []
    while len(" ".join(words)) < letters:
        if rng.random() < 0.15:
            words.append(f"{rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}")
        else:
            word = "".join(SYLLABLES[int(rng.integers(len(SYLLABLES)))] for _ in range(int(rng.integers(1, 4))))
            words.append(word.capitalize() if rng.random() < 0.3 else word)
    return " ".join(words)[: max(2, letters)]


def _written(lines: str, height: int, colour: tuple[int, int, int], *, boxed: bool) -> Tensor:
    """Text as (4, h, w) in [0, 1], RGB and alpha: on a dark bar, or with an outline as subtitles have."""
    font = ImageFont.load_default(size=height)
    edge = 0 if boxed else max(1, height // 12)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
        (0, 0), lines, font=font, stroke_width=edge
    )
    margin = height // 3
    dark = sum(colour) > 300
    back = (0, 0, 0) if dark else (235, 235, 235)
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    canvas = Image.new("RGBA", size, (*back, 170 if boxed else 0))
    place = (margin - left, margin - top)
    ImageDraw.Draw(canvas).multiline_text(
        place, lines, font=font, fill=(*colour, 255), stroke_width=edge, stroke_fill=(*back, 255)
    )
    return torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1).float().div_(255)
