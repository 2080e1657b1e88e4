"""DeepQA: where errors are seen, learnt; full-reference, frame by frame.

Paper: J. Kim, S. Lee, "Deep Learning of Human Visual Sensitivity in Image Quality Assessment Framework", CVPR 2017.
Written anew from the paper; sizes, the filter and the slope of LeakyReLU as in the authors' Theano code. It was
trained on 1 - DMOS, so a higher score is better.

What differs on purpose: the score of a clip is the mean over its frames; frames are not cut into patches of 112x112;
the last layer is linear, where the original ends in ReLU and a network that starts below 0 never learns (trained
scores are above 0, and there both are the same).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


@models.register("deepqa", mode="FR", smallest_side=SMALLEST_SIDE, frames=1)
class DeepQA(nn.Module):
    """DeepQA, a learnt sensitivity times the error: 130,510 parameters, 14.977 G MAC for 12 frames of 256x256.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors, RGB in [0, 1], H and W at least 36; returns
    (B,) scores without a fixed range, higher is better: the mean over frames. Only luma (BT.601, full range) is read.

    Args:
        width: channels of each branch; the trunk has twice as many.

    Raises:
        DataError: (when called) shapes differ or are not (B, T, 3, H, W), or a side is below 36 pixels.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.picture = branch(width)
        self.error = branch(width)
        self.sensitivity = trunk(2 * width, 2 * width, nn.ReLU())
        self.regress = nn.Sequential(nn.Linear(1, 4), nn.LeakyReLU(SLOPE), nn.Linear(4, 1))
        initialise(self, self.sensitivity)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted, smallest_side=SMALLEST_SIDE)
        scores = few_at_a_time(self._frame_scores, reference.flatten(0, 1), distorted.flatten(0, 1))
        return scores.reshape(distorted.shape[0], -1).mean(dim=1)

    def _frame_scores(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (N, 3, H, W) to (N,), in float32 at least."""
        grey = luma(distorted, "bt601", limited=False)
        error = log_error(luma(reference, "bt601", limited=False), grey)
        joined = torch.cat(
            [self.picture(high_pass(grey).to(distorted.dtype)), self.error(error.to(distorted.dtype))], 1
        )
        perceived = self.sensitivity(joined) * halve(halve(error))
        mean = without_border(perceived).mean(dim=(2, 3))
        return at_least_single(self.regress(mean.to(distorted.dtype))).flatten()
