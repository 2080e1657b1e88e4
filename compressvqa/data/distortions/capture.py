"""What happens before a picture is coded: optics, motion, sensor, scaling, and the processing of pictures.

Pictures are continued by their edge's pixels, so that a filter adds no border.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data.distortions.base import distortion

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@distortion("gaussian-blur", 0.6, 0.95, 1.4, 2.1, 3.2)
def gaussian_blur(picture: Tensor, sigma: float, rng: np.random.Generator) -> Tensor:
    """Blur by a Gaussian of a standard deviation in pixels: out of focus, or strongly denoised."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    return _filtered(_filtered(picture, taps.view(-1, 1)), taps.view(1, -1))


@distortion("motion-blur", 3, 5, 8, 12, 18)
def motion_blur(picture: Tensor, length: float, rng: np.random.Generator) -> Tensor:
    """Blur along a straight line of a length in pixels and random direction: the camera moved."""
    angle = rng.uniform(0, math.pi)
    radius = math.ceil(length / 2)
    side = 2 * radius + 1
    # The line is many points, each shared among the four pixels around it.
    along = np.linspace(-0.5, 0.5, 4 * side) * (length - 1)
    rows, columns = radius + along * math.sin(angle), radius + along * math.cos(angle)
    top, left = (np.minimum(np.floor(places), side - 2).astype(int) for places in (rows, columns))
    down, right = rows - top, columns - left
    kernel = np.zeros((side, side), np.float32)
    for row, column, share in ((0, 0, (1 - down) * (1 - right)), (0, 1, (1 - down) * right),
                               (1, 0, down * (1 - right)), (1, 1, down * right)):  # fmt: skip
        np.add.at(kernel, (top + row, left + column), share)
    return _filtered(picture, torch.from_numpy(kernel / kernel.sum()))


@distortion("noise", 0.015, 0.028, 0.045, 0.07, 0.11)
def noise(picture: Tensor, deviation: float, rng: np.random.Generator) -> Tensor:
    """White Gaussian noise of a standard deviation (1 is white), drawn for each colour of each pixel: a dark scene."""
    drawn = rng.standard_normal(tuple(picture.shape), dtype=np.float32)
    return picture + deviation * torch.from_numpy(drawn)


@distortion("low-resolution", 1.5, 2, 2.75, 4, 6)
def low_resolution(picture: Tensor, factor: float, rng: np.random.Generator) -> Tensor:
    """Made smaller by a factor and enlarged again, both bicubic: a low rung of a streaming ladder on a large screen."""
    return _smaller(picture, factor)


@distortion("banding", 28, 16, 9, 5, 3)
def banding(picture: Tensor, steps: float, rng: np.random.Generator) -> Tensor:
    """Each colour rounded to so many equal steps: bands in smooth gradients, as coarse quantisation leaves them."""
    return (picture * (steps - 1)).round() / (steps - 1)


@distortion("chroma", 3, 5, 9, 16, 32)
def chroma(picture: Tensor, factor: float, rng: np.random.Generator) -> Tensor:
    """Colour differences made smaller by a factor and enlarged again, luma kept: colours bleed over edges."""
    weights = torch.tensor(LUMA).view(3, 1, 1)
    luma = (picture * weights).sum(0, keepdim=True)
    return luma + _smaller(picture - luma, factor)


@distortion("exposure", 1.25, 1.5, 1.8, 2.2, 2.8)
def exposure(picture: Tensor, gamma: float, rng: np.random.Generator) -> Tensor:
    """Too dark or, as often, too bright: values to the power of gamma or its inverse; black and white stay."""
    return picture.clamp(0, 1) ** (gamma if rng.random() < 0.5 else 1 / gamma)


@distortion("low-contrast", 0.78, 0.6, 0.44, 0.3, 0.18)
def low_contrast(picture: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """A share of the contrast about the picture's mean colour: haze, or a badly mapped tone curve."""
    mean = picture.mean(dim=(1, 2), keepdim=True)
    return mean + share * (picture - mean)


@distortion("sharpening", 0.8, 1.5, 2.4, 4, 7)
def sharpening(picture: Tensor, amount: float, rng: np.random.Generator) -> Tensor:
    """So much of what a Gaussian of 1 pixel takes away is added: halos along edges, grain brought out."""
    return picture + amount * (picture - gaussian_blur(picture, 1.0, rng))


def _smaller(picture: Tensor, factor: float) -> Tensor:
    size = (picture.shape[1], picture.shape[2])
    small = (max(2, round(size[0] / factor)), max(2, round(size[1] / factor)))
    down = functional.interpolate(picture[None], small, mode="bicubic", antialias=True, align_corners=False)
    return functional.interpolate(down, size, mode="bicubic", align_corners=False)[0]


def _filtered(picture: Tensor, kernel: Tensor) -> Tensor:
    """Each colour of (3, H, W) correlated with a kernel of odd sides."""
    rows, columns = (side // 2 for side in kernel.shape)
    padded = functional.pad(picture[None], (columns, columns, rows, rows), mode="replicate")
    return functional.conv2d(padded.transpose(0, 1), kernel.to(picture)[None, None])[:, 0]
