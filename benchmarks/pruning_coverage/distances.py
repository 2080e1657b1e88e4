"""How people make a score of two feature maps: the forms that every no-reference network is given as a siamese one.

Each is a module called with the features of reference and distorted: maps (B, C, H, W), or vectors (B, C) as maps of
one place. `FORMS` are for maps and `VECTOR_FORMS` those that make sense for one place as well.
"""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class _Form(nn.Module):
    """Takes the number of channels."""

    for_vectors: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()


class RootWidth(_Form):
    """L2 over the square root of the width."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return ((r - d).pow(2).sum(1).sqrt() / math.sqrt(r.shape[1])).mean((1, 2))


class LearntPerceptual(_Form):
    """LPIPS: unit length over channels, squared differences, weights of 1 x 1."""

    for_vectors = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.lin = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        r, d = (t / (t.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for t in (r, d))
        return self.lin((r - d) ** 2).mean((2, 3))[:, 0]


class TextureStructure(_Form):
    """DISTS: means and covariances of every channel, with learnt weights that sum to one."""

    for_vectors = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.alpha, self.beta = (nn.Parameter(torch.rand(1, channels, 1, 1)) for _ in range(2))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        total = self.alpha.sum() + self.beta.sum()
        mr, md = r.mean([2, 3], keepdim=True), d.mean([2, 3], keepdim=True)
        vr, vd = ((r - mr) ** 2).mean([2, 3], keepdim=True), ((d - md) ** 2).mean([2, 3], keepdim=True)
        cov = (r * d).mean([2, 3], keepdim=True) - mr * md
        texture = self.alpha / total * (2 * mr * md + 1e-6) / (mr**2 + md**2 + 1e-6)
        structure = self.beta / total * (2 * cov + 1e-6) / (vr + vd + 1e-6)
        return 1 - (texture + structure).sum((1, 2, 3))


class Cosine(_Form):
    """One minus the cosine over channels."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(r, d, dim=1).mean((1, 2))


class FusedHead(_Form):
    """WaDIQaM's fusion: both and their difference to a small head."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.head = nn.Sequential(nn.Linear(3 * channels, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.head(torch.cat([r, d, (r - d).abs()], 1).mean((2, 3)))[:, 0]


class GramStyle(_Form):
    """Squared difference of Gram matrices over c * h * w."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        b, c, h, w = r.shape
        r, d = r.reshape(b, c, h * w), d.reshape(b, c, h * w)
        return ((r @ r.mT - d @ d.mT) / (c * h * w)).pow(2).sum((1, 2))


class MeanIsScore(_Form):
    """The mean absolute difference, times a hundred."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return 100 * (r - d).abs().mean((1, 2, 3))


class ScaleShift(_Form):
    """A learnt scale and a large offset around a distance over the width."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale, self.shift = nn.Parameter(torch.tensor(-0.5)), nn.Parameter(torch.tensor(50.0))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.scale * (r - d).pow(2).mean((2, 3)).sum(1) / r.shape[1] + self.shift


class Clamped(_Form):
    """One minus a mean distance, in [0, 1]."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return (1 - 0.1 * F.l1_loss(d, r, reduction="none").mean((1, 2, 3))).clamp(0, 1)


class RootMeanSquare(_Form):
    """Root of the mean squared difference."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).flatten(1).pow(2).mean(1).sqrt()


class FeatureSSIM(_Form):
    """SSIM of every channel over windows of three, and its mean over channels."""

    for_vectors = False

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        pool = lambda t: F.avg_pool2d(t, 3, 1, 1)  # noqa: E731
        mr, md = pool(r), pool(d)
        vr, vd, cov = pool(r * r) - mr * mr, pool(d * d) - md * md, pool(r * d) - mr * md
        return ((2 * mr * md + 0.01) * (2 * cov + 0.03) / ((mr**2 + md**2 + 0.01) * (vr + vd + 0.03))).mean((1, 2, 3))


class OverNumel(_Form):
    """Absolute differences summed, over the number of features of a picture."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).abs().sum((1, 2, 3)) / r[0].numel()


class WeightedL1(_Form):
    """A learnt weight for each channel, and a mean."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.rand(channels))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return ((r - d).abs().mean((2, 3)) * self.weight.abs()).mean(1)


class ExponentialDecay(_Form):
    """exp(-distance), the distance over the width."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return torch.exp(-torch.linalg.vector_norm(r - d, dim=1).mean((1, 2)) / r.shape[1] ** 0.5)


class PoolThenLinear(_Form):
    """The squared difference, pooled, to a linear layer with positive weights."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight, self.bias = nn.Parameter(torch.rand(1, channels)), nn.Parameter(torch.tensor(3.0))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.bias - F.linear((r - d).square().mean((2, 3)), self.weight.abs())[:, 0]


class DecibelsOfMean(_Form):
    """PSNR of features."""

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return -10 * torch.log10(F.mse_loss(r, d, reduction="none").mean(dim=(1, 2, 3)) + 1e-6)


class ProductGate(_Form):
    """The difference gated by what the reference shows, through a layer of 1 x 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate, self.out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 1, 1)

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.out((r - d) * self.gate(r).sigmoid()).mean((1, 2, 3))


class Correlation(_Form):
    """Pearson's correlation of each channel over space, averaged with learnt weights."""

    for_vectors = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weights = nn.Linear(channels, 1)

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        r, d = (t.flatten(2) - t.flatten(2).mean(2, keepdim=True) for t in (r, d))
        return self.weights((r * d).sum(2) / (r.norm(dim=2) * d.norm(dim=2) + 1e-3))[:, 0]


class Attended(_Form):
    """The distorted map asks the reference's: cross-attention of one head, then a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.q, self.k, self.head = nn.Linear(channels, 16), nn.Linear(channels, 16), nn.Linear(channels, 1)

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        r, d = r.flatten(2).mT, d.flatten(2).mT
        weights = (self.q(d) @ self.k(r).mT * 0.25).softmax(-1)
        return self.head((d - weights @ r).abs()).mean((1, 2))


class StatisticsDistance(_Form):
    """Distances of means and deviations, with a mean over channels."""

    for_vectors = False

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return ((r.mean((2, 3)) - d.mean((2, 3))).abs() + (r.std((2, 3)) - d.std((2, 3))).abs()).mean(1)


class ScoreDifference(_Form):
    """How far two scores are apart, on the scale of a mean opinion: for networks that return scores."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale, self.shift = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(60.0))

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.shift - self.scale * (r - d).abs().amax((1, 2, 3))


FORMS: tuple[type[_Form], ...] = tuple(form for form in _Form.__subclasses__() if form is not ScoreDifference)
VECTOR_FORMS: tuple[type[_Form], ...] = tuple(form for form in FORMS if form.for_vectors)
