"""Native code against eager PyTorch on built-in pictures: what differs by more than it may is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from compressvqa.deploy.native.kernel import Kernel
from compressvqa.errors import RuntimeRefusedError
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.video.frames import Colour, Planes, Samples

SIZE = 109, 150  # odd, no multiple of a window, and wider than a vector at every scale but the last
FRAMES = 3  # the block is filled up with its last frame
# Of what scores differ by between a picture and a badly distorted one.
TOLERANCES = {"float32": 1e-4, "int16": 0.01, "mixed": 0.03, "int8": 0.03}


@dataclass(frozen=True)
class Agreement:
    """Scores of both for the same built-in pairs of clips.

    Args:
        eager: of eager PyTorch, in the order of growing distortion; the first pair is identical.
        native: of native code.
    """

    eager: tuple[float, ...]
    native: tuple[float, ...]

    @property
    def span(self) -> float:
        """What eager's scores differ by."""
        return max(self.eager) - min(self.eager)

    @property
    def error(self) -> float:
        """The largest difference, as a share of the span."""
        found = max(abs(a - b) for a, b in zip(self.eager, self.native, strict=True))
        # A network that scores everything alike has no span; then digits of float32 are what is left to ask for.
        return found / max(self.span, 1e-3 * max(1.0, *(abs(score) for score in self.eager)))


def agreement(kernel: Kernel, model: RankDVQA) -> Agreement:
    """Scores some built-in pairs by both."""
    reference = _clip(0.0, 0)
    levels = (0.0, 0.02, 0.08, 0.3)
    eager, native = [], []
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    try:
        model.eval()
        with torch.inference_mode():
            left = model.prepare(_rgb(reference).to(device))
            for blur, level in enumerate(levels):
                distorted = _clip(level, blur)
                eager.append(float(model.partial(left, _rgb(distorted).to(device)).reshape(-1)[0]))
                native.append(kernel.score(reference, distorted))
    finally:
        for module, training in modes:
            module.training = training
    return Agreement(tuple(eager), tuple(native))


def check(kernel: Kernel, model: RankDVQA) -> Agreement:
    """As `agreement`; refuses a kernel that is not within its tolerance.

    Raises:
        RuntimeRefusedError: it differs from eager by more than `TOLERANCES` allows, or gives no number.
    """
    found = agreement(kernel, model)
    most = TOLERANCES[kernel.precision]
    if not found.error <= most:  # also where it is not a number
        raise RuntimeRefusedError(
            f"native code ({kernel.instructions}, {kernel.precision}) differs from eager by {found.error:.2g} of the "
            f"range of scores, {most:g} is allowed",
            hint="another runtime",
        )
    return found


def _rgb(frames: Sequence[Planes]) -> torch.Tensor:
    return torch.stack([planes.to_rgb() for planes in frames])[None]


def _clip(noise: float, blur: int) -> list[Planes]:
    """A moving texture with sharp edges and strong colours, 8-bit 4:2:0, blurred and with noise on top."""
    dice = np.random.default_rng(1)
    height, width = SIZE
    small = (-(-height // 2), -(-width // 2))
    planes = [_texture(size, dice) for size in (SIZE, small, small)]
    frames = []
    for number in range(FRAMES):
        made = []
        for plane in planes:
            moved = np.roll(plane, 2 * number, axis=1)
            for _ in range(blur):
                moved = (moved + np.roll(moved, 1, 0) + np.roll(moved, 1, 1) + np.roll(moved, -1, 1)) / 4
            dirty = moved + noise * (dice.random(moved.shape) - 0.5)
            made.append(np.clip(np.round(255 * dirty), 0, 255).astype(np.uint8))
        frames.append(Planes(made[0], made[1], made[2], "420", Colour()))
    return frames


def _texture(size: tuple[int, int], dice: np.random.Generator) -> Samples:
    """Squares of several sizes over each other, in [0, 1]."""
    height, width = size
    total = np.zeros(size)
    for side, weight in ((16, 0.4), (5, 0.3), (1, 0.15)):
        cells = dice.random((height // side + 1, width // side + 1))
        total += weight * np.kron(cells, np.ones((side, side)))[:height, :width]
    return 0.08 + total
