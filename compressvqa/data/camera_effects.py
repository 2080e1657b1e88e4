"""What happens to a picture between the scene and the file: focus, exposure, motion blur, and the sensor's noise.

Light adds up in linear light and not in the gamma-coded values that are stored, so exposure, motion blur and noise are
worked out there (a plain power of 2.2, as near to the transfer curves of video as matters for a picture's look).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data.distortions.capture import gaussian_blur

Curve = npt.NDArray[np.float64]  # one value a frame
GAMMA = 2.2
# A shutter that is open for some part of a frame is sampled at so many moments.
MOMENTS = 5
# Focus blur below this standard deviation, in pixels, is not seen.
SHARP = 0.2


def to_light(picture: Tensor) -> Tensor:
    """Gamma-coded values in [0, 1] as linear light."""
    return picture.clamp(0, 1) ** GAMMA


def to_values(light: Tensor) -> Tensor:
    """Linear light as gamma-coded values, clipped to [0, 1]."""
    return light.clamp(0, 1) ** (1 / GAMMA)


def open_shutter(view: Callable[[float], Tensor], number: int, shutter: float) -> Tensor:
    """What a sensor sees of a moving scene while the shutter is open: the mean of the light.

    Args:
        view: the scene, (3, H, W), at a moment counted in frames.
        number: of the frame; its exposure is centred on it.
        shutter: for how much of a frame's time the shutter is open, 0 to 1 (a shutter of 180 degrees: 0.5).
    """
    if shutter <= 0:
        return view(number)
    moments = number + shutter * (np.arange(MOMENTS) / (MOMENTS - 1) - 0.5)
    return to_values(torch.stack([to_light(view(float(moment))) for moment in moments]).mean(0))


def out_of_focus(picture: Tensor, sigma: float) -> Tensor:
    """The picture blurred by a Gaussian of a standard deviation in pixels."""
    return picture if sigma < SHARP else gaussian_blur(picture, sigma, np.random.default_rng(0))


def exposed(picture: Tensor, stops: float) -> Tensor:
    """The picture with `stops` times the doubled light; what gets too bright is clipped, as a sensor does."""
    return picture if stops == 0 else to_values(to_light(picture) * 2.0**stops)


def focus_curve(rng: np.random.Generator, frames: int) -> Curve:
    """Blur of each frame in pixels: a lens that is set wrong, hunts for focus, or moves from near to far."""
    worst, time = rng.uniform(0.6, 2.8), np.linspace(0, 1, frames)
    kind = rng.integers(3)
    if kind == 0:
        return np.full(frames, min(worst, 1.6))
    if kind == 1:
        return np.linspace(0, worst, frames)[:: 1 if rng.random() < 0.5 else -1]
    hunting: Curve = worst * np.abs(np.sin(rng.uniform(0, np.pi) + rng.uniform(1.5, 5) * time))
    return hunting


def exposure_curve(rng: np.random.Generator, frames: int) -> Curve:
    """Light of each frame in stops: a dark scene, an exposure that adapts, a light switched on, or flicker."""
    time, kind = np.linspace(0, 1, frames), rng.integers(4)
    if kind == 0:
        return np.full(frames, rng.uniform(-3.2, -1.2))
    curve: Curve
    if kind == 1:
        curve = rng.uniform(-2.2, 0.7) + rng.choice([-1, 1]) * rng.uniform(0.3, 1.5) * (time - 0.5)
    if kind == 2:
        after = rng.uniform(-2.5, -0.8) if rng.random() < 0.5 else rng.uniform(0.2, 0.8)
        curve = after / (1 + np.exp(-(time - rng.uniform(0.3, 0.7)) * rng.uniform(15, 60)))
    if kind == 3:
        curve = rng.uniform(-1.5, 0.2) + rng.uniform(0.05, 0.25) * np.sin(rng.uniform(0, 6) + np.arange(frames) * 2.1)
    return curve


@dataclass(frozen=True)
class Sensor:
    """A sensor's noise: photons that arrive by chance, and the electronics (Foi et al., IEEE TIP 17(10), 2008).

    Args:
        shot: variance for each unit of light, in linear light of [0, 1].
        read: variance without any light.
        grain: 0 for noise of single pixels, towards 1 for noise that a camera's own processing has smeared.
        coloured: share of the noise that differs between red, green and blue.
    """

    shot: float
    read: float
    grain: float
    coloured: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Sensor:
        """A sensor between a good one and one in a dark room."""
        strength = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.01))))
        read = (0.15 * strength) ** 2 * rng.uniform(0.3, 3)
        return cls(strength**1.2, read, rng.uniform(0, 0.8), rng.uniform(0.2, 0.8))

    def noisy(self, picture: Tensor, rng: np.random.Generator) -> Tensor:
        """The picture, (3, H, W) in [0, 1], as this sensor would have stored it; another draw for every frame."""
        light = to_light(picture)
        grey, own = (_normal(rng, channels, light) for channels in (1, 3))
        noise = (1 - self.coloured) ** 0.5 * grey + self.coloured**0.5 * own
        noise = _smeared(noise, self.grain)
        return to_values(light + noise * (self.shot * light + self.read).sqrt())


def _normal(rng: np.random.Generator, channels: int, like: Tensor) -> Tensor:
    return torch.from_numpy(rng.standard_normal((channels, *like.shape[1:]), dtype=np.float32))


def _smeared(noise: Tensor, share: float) -> Tensor:
    """Noise with neighbours mixed in, of the same variance."""
    taps = torch.tensor([share / 2, 1.0, share / 2])
    taps = taps / taps.square().sum().sqrt()
    padded = functional.pad(noise[:, None], (1, 1, 1, 1), mode="circular")
    rows = functional.conv2d(padded, taps.view(1, 1, 3, 1))
    return functional.conv2d(rows, taps.view(1, 1, 1, 3))[:, 0]
