"""DeepVQA: DeepQA with a look at motion, and frames weighted by attention; full-reference.

Paper: W. Kim, J. Kim, S. Ahn, J. Kim, S. Lee, "Deep Video Quality Assessor: From Spatio-temporal Visual Sensitivity to
a Convolutional Neural Aggregation Network", ECCV 2018. Written anew from the paper; sizes as in the authors' Theano
code. It was trained on 1 - DMOS, so a higher score is better.

What differs on purpose:

- any size: the map of a whole frame is averaged to the 20x20 positions that the frame features are made of. A frame of
  112x112, the patch that the authors cut, has those 20x20 positions, and then nothing is averaged;
- every frame that is given counts, and looks at the one after it (the last one: the same change as the one before it);
  the authors draw 12 frames out of a clip;
- the 8 aggregated features all reach the regression, as the paper says; the public code adds them up to one number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.clips import at_least_single, check_pair, luma
from compressvqa.models.sensitivity import (
    SLOPE,
    SMALLEST_SIDE,
    branch,
    few_at_a_time,
    halve,
    high_pass,
    initialise,
    log_error,
    trunk,
    without_border,
)
from compressvqa.registry import models

SIDE = 20  # of the map that frame features are made of


@models.register("deepvqa", mode="FR", smallest_side=SMALLEST_SIDE, frames=12)
class DeepVQA(nn.Module):
    """DeepVQA with its aggregation of frames: 144,370 parameters, 17.129 G MAC for 12 frames of 256x256.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors, RGB in [0, 1], H and W at least 36; returns
    (B,) scores without a fixed range, higher is better. Only luma is read, as it stands in a limited-range video.

    Args:
        stage: 2 is the whole network; 1 is the one that its first stage of training makes, which averages over frames
            and positions (141,054 parameters).
        width: channels of each of the two branches on pictures; the trunk has twice as many.
        motion_width: channels of each of the two branches on changes from frame to frame.

    Raises:
        DataError: `stage` is neither 1 nor 2; (when called) shapes differ or are not (B, T, 3, H, W), or a side is
            below 36 pixels.
    """

    def __init__(self, stage: int = 2, *, width: int = 32, motion_width: int = 8) -> None:
        super().__init__()
        if stage not in (1, 2):
            raise DataError(f"DeepVQA has no stage {stage!r}", hint="1, 2")
        self.picture, self.error = branch(width), branch(width)
        self.motion, self.motion_error = branch(motion_width), branch(motion_width)
        self.sensitivity = trunk(2 * width + 2 * motion_width, 2 * width, nn.LeakyReLU(SLOPE))
        self.frame = self.attention = None
        features = 1
        if stage == 2:
            features = 8
            self.frame = nn.Sequential(
                nn.Linear(SIDE * SIDE, features),
                nn.LeakyReLU(SLOPE),
                nn.Linear(features, features),
                nn.LeakyReLU(SLOPE),
            )
            self.attention = nn.Linear(features, 1, bias=False)
        self.regress = nn.Sequential(nn.Linear(features, 4), nn.LeakyReLU(SLOPE), nn.Linear(4, 1))
        initialise(self, self.sensitivity)
        if self.attention is not None:
            nn.init.ones_(self.attention.weight)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted, smallest_side=SMALLEST_SIDE)
        grey = [luma(clip, "bt709", limited=True) for clip in (reference, distorted)]
        changes = [_changes(clip) for clip in grey]
        kind = distorted.dtype
        features = few_at_a_time(
            lambda x, y, dx, dy: self._frame_features(x, y, dx, dy, kind),
            *(clip.flatten(0, 1) for clip in (*grey, *changes)),
        )
        pooled = self._pool(features.reshape(distorted.shape[0], distorted.shape[1], -1))
        return at_least_single(self.regress(pooled.to(kind))).flatten()

    def _frame_features(
        self, reference: Tensor, distorted: Tensor, reference_change: Tensor, change: Tensor, kind: torch.dtype
    ) -> Tensor:
        """Four (N, 1, H, W) to (N, 8), or (N, 1) in stage 1."""
        detail = high_pass(distorted)
        error = log_error(high_pass(reference), detail)
        branches = [
            self.picture(detail.to(kind)),
            self.error(error.to(kind)),
            self.motion(change.abs().to(kind)),
            self.motion_error((reference_change - change).to(kind)),
        ]
        perceived = without_border(self.sensitivity(torch.cat(branches, dim=1)) * halve(halve(error)))
        if self.frame is None:
            return perceived.mean(dim=(2, 3))
        positions = nn.functional.adaptive_avg_pool2d(perceived, SIDE).flatten(1)
        features: Tensor = self.frame(positions.to(kind))
        return features

    def _pool(self, features: Tensor) -> Tensor:
        """(B, T, F) to (B, F): the mean over frames, or their weighted mean by attention."""
        if self.attention is None:
            return features.mean(dim=1)
        weights = at_least_single(self.attention(features)).softmax(dim=1)
        return (weights * features).sum(dim=1)


def _changes(clip: Tensor) -> Tensor:
    """(B, T, 1, H, W): each frame minus the one after it; the last change stands twice, a single frame has none."""
    if clip.shape[1] == 1:
        return torch.zeros_like(clip)
    changes = clip[:, :-1] - clip[:, 1:]
    return torch.cat([changes, changes[:, -1:]], dim=1)
