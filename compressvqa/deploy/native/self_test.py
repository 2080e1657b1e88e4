"""Native code against eager PyTorch on photographs and camera clips: what differs by more than it may is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressvqa.deploy.native.content import REFERENCE, RUNGS, content
from compressvqa.deploy.native.kernel import Kernel
from compressvqa.errors import RuntimeRefusedError
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.video.frames import Planes

SIZE = 127, 159  # odd, no multiple of a window
# Of what scores differ by between good and bad encodes.
TOLERANCES = {"float32": 1e-4, "int16": 0.02, "mixed": 0.02, "int8": 0.02}


@dataclass(frozen=True)
class Agreement:
    """Scores of both for the same built-in pairs of clips, content by content; the first pair of each is identical.

    Args:
        eager: of eager PyTorch.
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


def agreement(kernel: Kernel, model: RankDVQA, eager: Sequence[float] | None = None) -> Agreement:
    """Scores the built-in pairs by both.

    Args:
        kernel: native code.
        model: the network.
        eager: what `eager_scores` gave for it, where several kernels are held against it.
    """
    native = []
    for reference, others in pairs():
        features = kernel.features(reference)
        native += [kernel.score_kept(features, distorted) for distorted in others]
    return Agreement(tuple(eager_scores(model) if eager is None else eager), tuple(native))


def check(kernel: Kernel, model: RankDVQA, eager: Sequence[float] | None = None) -> Agreement:
    """As `agreement`; refuses a kernel that is not within its tolerance.

    Raises:
        RuntimeRefusedError: it differs from eager by more than `TOLERANCES` allows, or gives no number.
    """
    found = agreement(kernel, model, eager)
    most = TOLERANCES[kernel.precision]
    if not found.error <= most:  # also where it is not a number
        raise RuntimeRefusedError(
            f"native code ({kernel.instructions}, {kernel.precision}) differs from eager by {found.error:.2g} of the "
            f"range of scores, {most:g} is allowed",
            hint="another runtime",
        )
    return found


def pairs() -> list[tuple[list[Planes], list[list[Planes]]]]:
    """For each built-in content its reference and itself again and its encodes."""
    height, width = SIZE
    clips = [
        [[frame.crop(0, 0, height, width) for frame in clip] for clip in content(rung)] for rung in (REFERENCE, *RUNGS)
    ]
    return [(clips[0][number], [rung[number] for rung in clips]) for number in range(len(clips[0]))]


def eager_scores(model: RankDVQA) -> list[float]:
    """Scores of `pairs` by eager PyTorch, in their order."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    scores: list[float] = []
    try:
        model.eval()
        with torch.inference_mode():
            for reference, others in pairs():
                left = _maps(model, reference, device)
                scores += [float(model.compare(left, _maps(model, one, device)).reshape(-1)[0]) for one in others]
    finally:
        for module, training in modes:
            module.training = training
    return scores


def _maps(model: RankDVQA, frames: Sequence[Planes], device: torch.device) -> list[Tensor]:
    """A block's maps, its last frame repeated; that one is worked through once."""
    rgb = torch.stack([planes.to_rgb() for planes in frames]).to(device)
    repeated = [min(number, len(frames) - 1) for number in range(model.frames)]
    return [one[repeated] for one in model.extractor(model.range_shift(rgb))]
