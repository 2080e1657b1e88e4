"""C3DVQA: DeepQA's idea with convolutions over space and time; full-reference.

Paper: M. Xu, J. Chen, H. Wang, S. Liu, G. Li, Z. Bai, "C3DVQA: Full-Reference Video Quality Assessment with 3D
Convolutional Neural Network", ICASSP 2020. Written anew from the paper; `official.py` reads the checkpoints that its
authors publish (repository Tencent/DVQA, three-clause BSD licence).

Facts of the published weights: trained on VideoSet at 720p, on 100 x the share of viewers who do not yet see a
difference, so a higher score is better; what they read is the Y plane of a limited-range video divided by 255, cut into
patches of 112x112 about the middle of the frame, 80 apart; the score is the mean over patches. Zeros from outside a
patch reach far into it, so these weights mean little for frames that are not cut. They were shown one frame of two up
to 30 frames a second and one of four up to 60; shown every frame, their scores differ a little and order clips alike.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.clips import at_least_single, check_pair, luma
from compressvqa.models.official import c3dvqa_state
from compressvqa.models.sensitivity import SMALLEST_SIDE, few_at_a_time, log_error, without_border
from compressvqa.registry import models

LEVELS = 3  # halvings of the low-pass that the distorted picture is freed from


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(1, width, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        nn.LeakyReLU(),
        nn.Conv3d(width, width, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        nn.LeakyReLU(),
    )


@models.register("c3dvqa", mode="FR", smallest_side=SMALLEST_SIDE, frames=12, convert=c3dvqa_state)
class C3DVQA(nn.Module):
    """C3DVQA, sensitivity to errors in space and time: 227,232 parameters.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors, RGB in [0, 1], H and W at least 36; returns
    (B,) scores, higher is better; with the published weights from about 0 (everybody sees a difference) to 100 or
    somewhat more. Only luma is read (BT.709, as it stands in a limited-range video). All frames are judged together.

    12 frames of 256x256 take 11.216 G MAC if frames are not cut. The paper's 11.236 G counts the transposed convolution
    at the positions that it puts out, where three of four products are with zeros.

    Args:
        patch: side of the patches that frames are cut into (a frame that is smaller is one patch); None: not cut.
        stride: pixels from one patch to the next; less than `patch`: they overlap.
        width: channels of the branches on the picture and on the error.
        trunk_width: channels of the convolutions over space and time.

    Raises:
        DataError: a patch below 36 pixels or a stride below 1; (when called) shapes differ or are not (B, T, 3, H, W),
            or a side is below 36 pixels.
    """

    def __init__(self, patch: int | None = 112, *, stride: int = 80, width: int = 16, trunk_width: int = 64) -> None:
        super().__init__()
        if (patch is not None and patch < SMALLEST_SIDE) or stride < 1:
            raise DataError(f"patches of {patch} pixels, {stride} apart", hint=f"{SMALLEST_SIDE} and 1 at least")
        self.patch, self.stride = patch, stride
        self.shrink = nn.Conv3d(1, 1, (1, 5, 5), stride=(1, 2, 2), padding=(0, 2, 2), bias=False)
        self.grow = nn.ConvTranspose3d(1, 1, (1, 5, 5), stride=(1, 2, 2), padding=(0, 2, 2), bias=False)
        self.picture, self.error = _branch(width), _branch(width)
        narrow = trunk_width // 2
        layers: list[nn.Module] = []
        for before, after in pairwise((2 * width, trunk_width, trunk_width, narrow, 1)):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.LeakyReLU()]
        self.sensitivity = nn.Sequential(*layers)
        self.regress = nn.Sequential(nn.Linear(1, 4), nn.LeakyReLU(), nn.Linear(4, 1), nn.LeakyReLU())
        line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        with torch.no_grad():
            # Both filters are learnt from here, also the one that grows: its sum stays 1, as in the published code.
            for layer in (self.shrink, self.grow):
                layer.weight.copy_(torch.outer(line, line))

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted, smallest_side=SMALLEST_SIDE)
        patches = [self._patches(luma(clip, "bt709", limited=True).transpose(1, 2)) for clip in (reference, distorted)]
        scores = few_at_a_time(lambda x, y: self._patch_scores(x, y, distorted.dtype), *patches)
        return scores.reshape(distorted.shape[0], -1).mean(dim=1)

    def _patches(self, clip: Tensor) -> Tensor:
        """(B, 1, T, H, W) to (B * rows * columns, 1, T, patch, patch), about the middle of the frame."""
        if self.patch is None:
            return clip
        for dim in (3, 4):
            length = clip.shape[dim]
            side = min(self.patch, length)
            rest = (length - side) % self.stride
            clip = clip.narrow(dim, rest // 2, length - rest).unfold(dim, side, self.stride)
        return clip.permute(0, 3, 4, 1, 2, 5, 6).flatten(0, 2)

    def _patch_scores(self, reference: Tensor, distorted: Tensor, kind: torch.dtype) -> Tensor:
        """Two (N, 1, T, h, w) to (N,), in float32 at least."""
        error, picture = log_error(reference, distorted).to(kind), distorted.to(kind)
        detail = picture - self._low_pass(picture)
        sensitivity = self.sensitivity(torch.cat([self.picture(detail), self.error(error)], dim=1))
        perceived = without_border(self.shrink(self.shrink(error)) * sensitivity)
        mean = at_least_single(perceived).mean(dim=(2, 3, 4))
        return at_least_single(self.regress(mean.to(kind))).flatten()

    def _low_pass(self, picture: Tensor) -> Tensor:
        sizes = []
        for _ in range(LEVELS):
            sizes.append(list(picture.shape[2:]))
            picture = self.shrink(picture)
        for size in reversed(sizes):
            picture = self.grow(picture, output_size=size)
        return picture
