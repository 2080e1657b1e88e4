"""What is exported: a network with the scale that its scores are read by, as one module of tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.metrics.score_scale import HIGHEST, ScoreScale


class ScaleCurve(nn.Module):
    """`ScoreScale` as operators that every runtime knows: a cubic between knots, straight beyond, in float32."""

    starts: Tensor
    lengths: Tensor
    rises: Tensor
    slopes: Tensor

    def __init__(self, scale: ScoreScale) -> None:
        super().__init__()
        raw, odds, slopes = scale.curve()
        self.first, self.last, self.base = float(raw[0]), float(raw[-1]), float(odds[0])
        for name, values in {
            "starts": raw[:-1],
            "lengths": np.diff(raw),
            "rises": np.diff(odds),
            "slopes": slopes,
        }.items():
            self.register_buffer(name, torch.tensor(np.asarray(values), dtype=torch.float32))

    def forward(self, raw: Tensor) -> Tensor:
        """(B,) raw scores to (B,) from 0 to 100."""
        # How far into each stretch between two knots a score is; before it 0, behind it 1.
        t = ((raw[:, None] - self.starts) / self.lengths).clamp(0, 1)
        climbed = t * t * (3 - 2 * t) * self.rises
        bent = self.lengths * (t * (1 - t) ** 2 * self.slopes[:-1] - t * t * (1 - t) * self.slopes[1:])
        beyond = self.slopes[0] * (raw - self.first).clamp(max=0) + self.slopes[-1] * (raw - self.last).clamp(min=0)
        odds: Tensor = self.base + (climbed + bent).sum(1) + beyond
        return HIGHEST * odds.sigmoid()


class ScoringGraph(nn.Module):
    """A network whose scores read as `compressvqa score` shows them for a block.

    Called as the network is; returns ``(score,)``, or ``(score, raw_score)`` where there is a scale: then blocks that
    are their own reference get 100, as they do there. All (B,).

    Args:
        network: in evaluation mode.
        scale: of its raw scores.
        full_reference: whether it is called with reference and distorted, or with distorted alone.
    """

    def __init__(self, network: nn.Module, scale: ScoreScale | None, *, full_reference: bool) -> None:
        super().__init__()
        self.network, self.full_reference = network, full_reference
        self.curve = None if scale is None else ScaleCurve(scale)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it returns."""
        return ("score",) if self.curve is None else ("score", "raw_score")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it is called with."""
        return ("reference", "distorted") if self.full_reference else ("distorted",)

    def forward(self, *clips: Tensor) -> tuple[Tensor, ...]:
        """(B, T, 3, H, W) each, RGB in [0, 1]."""
        raw = self.network(*clips).reshape(-1)
        if self.curve is None:
            return (raw,)
        score = self.curve(raw)
        if self.full_reference:
            reference, distorted = clips
            differs = (reference - distorted).abs().amax(dim=(1, 2, 3, 4)) > 0
            score = torch.where(differs, score, torch.tensor(HIGHEST))  # a scalar: full_like would fix the batch
        return score, raw
