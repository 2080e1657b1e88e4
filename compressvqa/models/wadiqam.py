"""WaDIQaM-FR: the quality of 32x32 patches and how much each of them counts; full-reference, frame by frame.

Paper: S. Bosse, D. Maniry, K.-R. Mueller, T. Wiegand, W. Samek, "Deep Neural Networks for No-Reference and
Full-Reference Image Quality Assessment", IEEE Transactions on Image Processing 27(1), 2018. Written anew from the
paper; `official.py` reads PyTorch checkpoints with the layer names of the public implementations.

What differs on purpose: the score of a clip is the mean over its frames. As in the authors' code, patches do not
overlap and begin at the top left: a rest of less than 32 pixels, at the right and at the bottom, is not judged.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.clips import at_least_single, check_pair
from compressvqa.models.official import wadiqam_state
from compressvqa.models.sensitivity import few_at_a_time
from compressvqa.registry import models

PATCH = 32


def _head(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))


@models.register("wadiqam-fr", mode="FR", smallest_side=PATCH, frames=1, convert=wadiqam_state)
class WaDIQaM(nn.Module):
    """WaDIQaM-FR with weighted patches: 6,287,138 parameters, 104.036 G MAC for 12 frames of 256x256.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors, RGB in [0, 1], H and W at least 32; returns
    (B,) scores without a fixed range, higher is better: the weighted mean over the patches of each frame, and the mean
    over frames.

    Args:
        widths: channels of the stages, two convolutions each; a patch is 1x1 after five of them.
        hidden: width of the two heads.
        dropout: dropout before each head's last layer while training (0.5 in the paper).
        predicts: "mos", or "dmos" for weights that were trained so that higher is worse; their sign is turned.

    Raises:
        DataError: wrong settings; (when called) shapes differ or are not (B, T, 3, H, W), or a side is below 32 pixels.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128, 256, 512),
        *,
        hidden: int = 512,
        dropout: float = 0.5,
        predicts: str = "mos",
    ) -> None:
        super().__init__()
        if predicts not in ("mos", "dmos"):
            raise DataError(f"predicts {predicts!r} is neither 'mos' nor 'dmos'")
        if len(widths) != 5:
            raise DataError(f"widths {tuple(widths)} are not 5 stages, which halve a patch of 32x32 to 1x1")
        self.sign = 1 if predicts == "mos" else -1
        layers: list[nn.Module] = []
        for before, width in pairwise((3, *widths)):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.extractor = nn.Sequential(*layers)
        self.quality = _head(3 * widths[-1], hidden, dropout)
        self.weight = _head(3 * widths[-1], hidden, dropout)
        self.apply(_initialise)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted, smallest_side=PATCH)
        batch, frames = distorted.shape[:2]
        both = torch.cat([_patches(reference.flatten(0, 1)), _patches(distorted.flatten(0, 1))])
        features = few_at_a_time(self.extractor, both).flatten(1)
        half = features.shape[0] // 2
        before, after = features[:half], features[half:]
        joined = torch.cat([after - before, after, before], dim=1)
        # In half precision thousands of patches don't add up, and 1e-6 is coarse.
        quality = at_least_single(self.quality(joined)).reshape(batch * frames, -1)
        weight = at_least_single(self.weight(joined)).reshape(batch * frames, -1).relu() + 1e-6
        scores = (quality * weight).sum(dim=1) / weight.sum(dim=1)
        return self.sign * scores.reshape(batch, frames).mean(dim=1)


def _patches(frames: Tensor) -> Tensor:
    """(N, 3, H, W) to (N * rows * columns, 3, 32, 32)."""
    rows, columns = frames.shape[2] // PATCH, frames.shape[3] // PATCH
    whole = frames[:, :, : rows * PATCH, : columns * PATCH]
    cut = whole.reshape(frames.shape[0], 3, rows, PATCH, columns, PATCH)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, PATCH, PATCH)


def _initialise(module: nn.Module) -> None:
    """He's normal weights, so that ten layers of ReLU keep the size of their input; biases 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
