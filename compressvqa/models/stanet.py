"""STANet, RankDVQA's pooling network: one score for a clip out of the scores of its patches.

Paper: C. Feng et al., "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training", WACV 2024. Written anew; the
published code takes its softmax over an axis of one element, so all its weights are 1 and it can't learn. Here the
softmax runs **over the patches**, as the paper says. The published weights are therefore untouched initial values.
The published code also convolves across neighbouring patches, with a patch's positions laid out in one line; here a
patch is judged by itself over its 12 frames and 4x4 positions, so any number of patches in any order will do.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.official import stanet_state
from compressvqa.registry import models


def _example(*, size: int, frames: int, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Scores and features of 2 time blocks x 3 patches; size and frames of the video do not matter to this network."""
    del size, frames
    scores = torch.rand(batch, 2, 3, generator=generator)
    return scores, torch.randn(batch, 2, 3, 12, 256, 4, 4, generator=generator)


@models.register("stanet", mode="FR", inputs="patch-features", example=_example, convert=stanet_state)
class STANet(nn.Module):
    """Pools patch scores by learnt weights (STANet): 58,993 parameters.

    Called ``model(patch_scores, patch_features)`` with scores (B, K, P) of P patches in each of K time blocks, and what
    `RankDVQA.patch_features` gives for each of them, (B, K, P, frames, channels, 4, 4); returns (B,) scores on the
    scale of the patch scores.

    Args:
        channels: channels of the patch features (64 of stage three and 192 of stage six).
        hidden: channels between the convolutions.

    Raises:
        DataError: (when called) the two inputs don't fit each other or the network.
    """

    def __init__(self, channels: int = 256, hidden: int = 8) -> None:
        super().__init__()
        widths = (channels, hidden, hidden, hidden, 1)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.LeakyReLU(0.1)]
        self.weigh = nn.Sequential(*layers)

    def forward(self, patch_scores: Tensor, patch_features: Tensor) -> Tensor:
        """(B, K, P) and (B, K, P, frames, channels, h, w) to (B,): the weighted mean of the patch scores."""
        weights = self.patch_weights(patch_features)
        if patch_scores.shape != weights.shape:
            raise DataError(f"patch scores {tuple(patch_scores.shape)} don't fit features of {tuple(weights.shape)}")
        return (weights * patch_scores).sum(dim=(1, 2))

    def patch_weights(self, patch_features: Tensor) -> Tensor:
        """(B, K, P) weights, which sum to 1 over a clip's patches: softmax of each patch's mean over space and time."""
        convolution = self.weigh[0]
        assert isinstance(convolution, nn.Conv3d)
        if patch_features.ndim != 7 or patch_features.shape[4] != convolution.in_channels:
            raise DataError(
                f"patch features of {tuple(patch_features.shape)} are not "
                f"(batch, blocks, patches, frames, {convolution.in_channels}, height, width)"
            )
        saliency = self.saliency(patch_features.flatten(0, 2))
        return saliency.reshape(patch_features.shape[0], -1).softmax(dim=1).reshape(patch_features.shape[:3])

    def saliency(self, features: Tensor) -> Tensor:
        """(N, frames, channels, h, w) of N patches to (N,): the mean over space and time, before any softmax."""
        weighed: Tensor = self.weigh(features.transpose(1, 2))
        return weighed.mean(dim=(1, 2, 3, 4))
