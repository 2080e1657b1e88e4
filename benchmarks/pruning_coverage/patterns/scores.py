"""Scores that are a mean, a sum or a norm over channels, and statistics that are not applied to what they are of."""

# ruff: noqa: D101, D102  (a class is what its name and its forward say)

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.patterns.base import Network, backbone


class _Pair(Network):
    """Reference and distorted through one backbone; `distance` makes the score of the two maps."""

    kind = "scores"
    count = 2
    wanted = ("features.0", "features.2")

    def __init__(self) -> None:
        super().__init__()
        self.features = backbone(24, 32, 40)

    def forward(self, reference: Tensor, distorted: Tensor) -> Any:
        return self.distance(self.features(reference), self.features(distorted))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        raise NotImplementedError


class _Alone(Network):
    """A picture through a backbone; `score` makes the score of its map."""

    kind = "scores"
    wanted = ("features.0", "features.2")

    def __init__(self) -> None:
        super().__init__()
        self.features = backbone(24, 32, 40)

    def forward(self, picture: Tensor) -> Any:
        return self.score(self.features(picture))

    def score(self, x: Tensor) -> Tensor:
        raise NotImplementedError


# --- distances divided by a number that the width decides ----------------------------------------------------------


class L2OverRootWidth(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return ((r - d).pow(2).sum(1).sqrt() / math.sqrt(r.shape[1])).mean((1, 2))


class SumOverNumel(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).abs().flatten(1).sum(1) / (r.numel() / len(r))


class SumOverProduct(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        _, c, h, w = r.shape
        return ((r - d) ** 2).sum((1, 2, 3)) / (c * h * w)


class GramOverCHW(_Pair):
    """Style distance: squared differences of Gram matrices, summed."""

    def gram(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        flat = x.view(b, c, h * w)
        return flat @ flat.transpose(1, 2) / (c * h * w)

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (self.gram(r) - self.gram(d)).pow(2).sum((1, 2))


class GramMean(_Pair):
    """The same with means: divided by the width twice more."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        r, d = r.flatten(2), d.flatten(2)
        gap = torch.bmm(r, r.mT) / r.shape[2] - torch.bmm(d, d.mT) / d.shape[2]
        return gap.pow(2).mean((1, 2))


class FeatureMSE(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return F.mse_loss(d, r, reduction="none").flatten(1).mean(1)


class SmoothL1(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return F.smooth_l1_loss(d, r, reduction="none", beta=0.1).mean(dim=[1, 2, 3])


class ScalarMSE(_Pair):
    """One number for the batch, as losses are written."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return F.mse_loss(r, d)


class FeaturePSNR(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return -10 * torch.log10((r - d).pow(2).mean((1, 2, 3)) + 1e-8)


class MeanDistance(_Pair):
    """The mean over channels, rows and columns is the score."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return 100 * (r - d).abs().mean((1, 2, 3))


class ClampedDistance(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (1 - (r - d).square().mean((1, 2, 3))).clamp(0, 1)


class RootMeanSquare(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return torch.stack([(a - b).pow(2).mean().sqrt() for a, b in zip(r, d, strict=True)])


class PerScaleMeans(_Pair):
    """The mean distance of three stages, weighted by learnt numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, 0.3, 0.2]))

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        r, d, total = reference, distorted, 0
        for number in range(3):
            stage = self.features[2 * number : 2 * number + 2]
            r, d = stage(r), stage(d)
            total = total + self.weights[number] * (r - d).abs().mean((1, 2, 3))
        return total


class ExponentialScore(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return torch.exp(-(r - d).flatten(1).norm(dim=1) / r[0].numel() ** 0.5)


def _divided(name: str, width: Callable[[Any, Tensor], Any]) -> None:
    """A distance over one more way of saying how wide the features are."""

    def distance(self: Any, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).pow(2).sum(1).mean((1, 2)) / width(self, r)

    type(f"Over{name}", (_Pair,), {"distance": distance, "__module__": __name__, "channels": 40})


for _name, _width in {
    "PowerHalf": lambda n, r: r.size(1) ** 0.5,
    "NumpyRoot": lambda n, r: float(np.sqrt(r.shape[1])),
    "TensorRoot": lambda n, r: torch.tensor(float(r.shape[1])).to(r).sqrt(),
    "LengthOfOne": lambda n, r: len(r[0]),
    "NumelOfOne": lambda n, r: r[0].numel(),
    "NumelByBatch": lambda n, r: r.numel() // r.shape[0],
    "ShapeProduct": lambda n, r: math.prod(r.shape[1:]),
    "OwnAttribute": lambda n, r: n.channels,
    "WeightLength": lambda n, r: len(n.features[4].weight),
    "OnesLike": lambda n, r: torch.ones_like(r).sum((1, 2, 3)),
    "FloatOfSize": lambda n, r: float(r.size(-3)),
    "LogOfWidth": lambda n, r: math.log(r.shape[1]),
    "Squared": lambda n, r: r.shape[1] ** 2,
}.items():
    _divided(_name, _width)


class DivisorFromLayer(_Pair):
    """The divisor is read off the last layer."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).abs().sum(1).mean((1, 2)) / self.features[4].out_channels


class DivisorStored(_Pair):
    """The divisor is a number of the constructor: it does not change with the width."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(40)

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).pow(2).sum(1).sqrt().mean((1, 2)) * self.scale


# --- offsets that hide a distance ----------------------------------------------------------------------------------


class ScaleAndShift(_Pair):
    """A small distance on a large offset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(-2.0)), nn.Parameter(torch.tensor(80.0))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return self.scale * ((r - d).pow(2).sum(1) / r.shape[1]).mean((1, 2)) + self.shift


class ScaleAndShiftOfMean(ScaleAndShift):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return self.scale * (r - d).abs().mean((1, 2, 3)) + self.shift


class OneMinusDistance(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return 100 - 1e-3 * (r - d).norm(p=2, dim=1).mean((1, 2)) / r.size(1) ** 0.5


class LogisticOfMean(_Pair):
    """Five-parameter logistic of a mean distance."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor([60.0, 2.0, 0.3, -5.0, 50.0]))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        a, b, c, e, f = self.beta
        x = (r - d).abs().mean((1, 2, 3))
        return a * (0.5 - 1 / (1 + torch.exp(b * (x - c)))) + e * x + f


# --- weighted distances --------------------------------------------------------------------------------------------


class WeightedL1(_Pair):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1, 40, 1, 1))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (self.weight * (r - d).abs()).mean((1, 2, 3))


class WeightedL2(_Pair):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(40))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        gap = (r - d).pow(2).mean((2, 3))
        return (gap * F.softplus(self.weight)).mean(1)


class NormalisedWeights(_Pair):
    """Weights that are divided by their sum, as DISTS does."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.rand(1, 40, 1, 1)), nn.Parameter(torch.rand(1, 40, 1, 1))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        total = self.alpha.sum() + self.beta.sum()
        mr, md = r.mean([2, 3], keepdim=True), d.mean([2, 3], keepdim=True)
        vr, vd = ((r - mr) ** 2).mean([2, 3], keepdim=True), ((d - md) ** 2).mean([2, 3], keepdim=True)
        cov = (r * d).mean([2, 3], keepdim=True) - mr * md
        luminance = (2 * mr * md + 1e-6) / (mr**2 + md**2 + 1e-6)
        structure = (2 * cov + 1e-6) / (vr + vd + 1e-6)
        return 1 - (self.alpha / total * luminance + self.beta / total * structure).sum((1, 2, 3))


class SoftmaxWeights(_Pair):
    """Weights of channels that a softmax makes: they sum to one over the channels there are."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(40))

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return ((r - d).abs().mean((2, 3)) * self.logits.softmax(0)).sum(1)


class LearntLins(_Pair):
    """LPIPS: unit length over channels, squared differences, a convolution to one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Conv2d(40, 1, 1, bias=False)

    def unit(self, x: Tensor) -> Tensor:
        return x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return self.lin((self.unit(r) - self.unit(d)) ** 2).mean((2, 3))


class PlainLPIPS(LearntLins):
    """LPIPS without learnt weights: the sum over channels."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (self.unit(r) - self.unit(d)).pow(2).sum(1).mean((1, 2)) + 0 * self.lin.weight.sum()


class UnitThenMean(_Pair):
    """Unit length, and then a mean over channels where LPIPS has a sum."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (F.normalize(r, dim=1) - F.normalize(d, dim=1)).pow(2).mean((1, 2, 3))


# --- similarities --------------------------------------------------------------------------------------------------


class Cosine(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(r, d, dim=1).mean((1, 2))


class PearsonOverFeatures(_Pair):
    """The correlation over all features of a picture: its means count every channel."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        r, d = r.flatten(1), d.flatten(1)
        r, d = r - r.mean(1, keepdim=True), d - d.mean(1, keepdim=True)
        return (r * d).sum(1) / (r.norm(dim=1) * d.norm(dim=1) + 1e-8)


class ChannelSSIM(_Pair):
    """SSIM of every channel, and their mean."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        mr, md = F.avg_pool2d(r, 3, 1), F.avg_pool2d(d, 3, 1)
        vr, vd = F.avg_pool2d(r * r, 3, 1) - mr * mr, F.avg_pool2d(d * d, 3, 1) - md * md
        cov = F.avg_pool2d(r * d, 3, 1) - mr * md
        ssim = (2 * mr * md + 1e-4) * (2 * cov + 9e-4) / ((mr * mr + md * md + 1e-4) * (vr + vd + 9e-4))
        return ssim.mean((1, 2, 3))


class PairwiseDistance(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return F.pairwise_distance(r.flatten(2).mean(2), d.flatten(2).mean(2)) / r.shape[1] ** 0.5


class NearestPatch(_Pair):
    """For each place of the distorted map the nearest of the reference."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return torch.cdist(d.flatten(2).mT, r.flatten(2).mT).amin(2).mean(1) / r.shape[1]


class RelativeEnergy(_Pair):
    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return (r - d).pow(2).sum((1, 2, 3)) / (r.pow(2).sum((1, 2, 3)) + 1e-6)


class SoftmaxDivergence(_Pair):
    """KL divergence of distributions over channels."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        return F.kl_div(d.log_softmax(1), r.log_softmax(1), log_target=True, reduction="none").sum(1).mean((1, 2))


class PooledStatistics(_Pair):
    """Distance of means and deviations of channels."""

    def distance(self, r: Tensor, d: Tensor) -> Tensor:
        mean = (r.mean((2, 3)) - d.mean((2, 3))).abs().mean(1)
        return mean + (r.std((2, 3)) - d.std((2, 3))).abs().mean(1)


# --- without a reference -------------------------------------------------------------------------------------------


class MeanIsTheScore(_Alone):
    def score(self, x: Tensor) -> Tensor:
        return 100 * x.mean((1, 2, 3))


class FlatMean(_Alone):
    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(-1, keepdim=True).sigmoid()


class TwoStepMean(_Alone):
    """Places first, then channels."""

    def score(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1).mean(1)


class SumOverWidth(_Alone):
    def score(self, x: Tensor) -> Tensor:
        return x.sum((1, 2, 3)) / x.shape[1] / x.shape[2] / x.shape[3]


class FeatureNorm(_Alone):
    """The quality is the length of the features (as some anomaly scores are)."""

    def score(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).norm(dim=1) / x.shape[1] ** 0.5


class DeviationOverChannels(_Alone):
    def score(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).std(1)


class GlobalContrast(_Alone):
    """A deviation over everything, as a scalar for the batch."""

    def score(self, x: Tensor) -> Tensor:
        return x.var() / (x.mean() + 1)


class LogOfMean(_Alone):
    def score(self, x: Tensor) -> Tensor:
        return torch.log1p(x.mean(dim=(-3, -2, -1)))


class MeanOfHead(_Alone):
    """Several predictions, averaged: the mean of a layer's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(40, 16, 1)

    def score(self, x: Tensor) -> Tensor:
        return self.head(x).mean((1, 2, 3))


class Ensemble(_Alone):
    """Sixteen heads in one layer; their mean, and their spread as confidence."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(40, 16)

    def score(self, x: Tensor) -> Tensor:
        votes = self.heads(x.mean((2, 3)))
        return torch.stack([votes.mean(1), votes.std(1)], 1)


class BinExpectation(_Alone):
    """The expectation of a distribution over ten bins (NIMA)."""

    def __init__(self) -> None:
        super().__init__()
        self.bins = nn.Linear(40, 10)

    def score(self, x: Tensor) -> Tensor:
        return (self.bins(x.mean((2, 3))).softmax(1) * torch.arange(1.0, 11.0).to(x)).sum(1)


# --- statistics that are not applied to what they were taken of -----------------------------------------------------


class _Mixed(_Alone):
    """`mix` before one more layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.head = nn.Conv2d(40, 24, 3, padding=1), nn.Linear(24, 1)
        self.side = nn.Conv2d(3, 40, 1)

    def forward(self, picture: Tensor) -> Tensor:
        x, side = self.features(picture), F.avg_pool2d(self.side(picture), 2)
        return self.head(self.last(self.mix(x, side)).relu().mean((2, 3)))

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        raise NotImplementedError


class GateByMean(_Mixed):
    """A mean over channels gates another map."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return side * x.mean(1, keepdim=True).sigmoid()


class CentredByAnother(_Mixed):
    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x - side.mean(1, keepdim=True)


class ScaledByAnother(_Mixed):
    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x / (side.std(1, keepdim=True) + 1)


class CentredOnly(_Mixed):
    """Centred over channels and not divided by a deviation."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True) + side


class DividedByMean(_Mixed):
    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x / (x.mean(1, keepdim=True) + 0.1) + side


class SpatialGate(_Mixed):
    """CBAM: mean and maximum over channels make a map that gates the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2, 1, 3, padding=1)

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.gate(both).sigmoid() + side


class MeanAsExtraChannel(_Mixed):
    """A mean over channels in the place of one of them."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return torch.cat([(x + side)[:, :-1], x.mean(1, keepdim=True)], 1)


class NormalisedAndItsMean(_Mixed):
    """A normalisation whose mean is used once more beside it."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        deviation = (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return (x - mean) / deviation + side * mean


class ScaledByRootWidth(_Mixed):
    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x * x.shape[1] ** -0.5 + side


class PowerMean(_Mixed):
    """A response normalisation over channels, with the plain mean of squares."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x / (1 + x.square().mean(1, keepdim=True)).sqrt() + side


class GlobalResponse(_Mixed):
    """ConvNeXt V2: a channel's energy, relative to the mean energy of all."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        energy = x.norm(dim=(2, 3), keepdim=True)
        return x * (energy / (energy.mean(1, keepdim=True) + 1e-6)) + side


class LocalResponse(_Mixed):
    """AlexNet's normalisation over five neighbouring channels."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return F.local_response_norm(x, 5) + side


# --- networks whose forward leaves something behind ----------------------------------------------------------------


class _Stateful(_Mixed):
    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        return x + side


class MemoryQueue(_Alone):
    """The mean features of the last pictures, kept in a buffer and compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(40, 24), nn.Linear(24, 1)
        self.register_buffer("queue", torch.randn(8, 24))

    def score(self, x: Tensor) -> Tensor:
        z = self.project(x.mean((2, 3)))
        attention = (z @ self.queue.t()).softmax(1)
        self.queue = torch.cat([z.detach(), self.queue])[: len(self.queue)]
        return self.head((z + attention @ self.queue).relu())


class RunningMean(_Alone):
    """Features are centred by a slow mean of what was seen, which every call moves."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(40, 1)
        self.register_buffer("mean", torch.rand(40))

    def score(self, x: Tensor) -> Tensor:
        z = x.mean((2, 3))
        self.mean.mul_(0.9).add_(z.detach().mean(0), alpha=0.1)
        return self.head((z - self.mean).relu())


class CallCounter(_Stateful):
    """Counts its calls in a Python number and in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_so_far = 0
        self.register_buffer("seen", torch.tensor(0))

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        self.calls_so_far += 1
        self.seen += len(x)
        return x + side


class FeatureLog(_Stateful):
    """Appends every map to a list, as hooks do."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Tensor] = []

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        self.log.append(x.detach().mean((2, 3)))
        return x + side


class DrawsNumbers(_Stateful):
    """Draws from torch's and Python's generators: one crop of the map, at random."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        top = int(torch.randint(0, x.shape[2] - 3, ()))
        return (x + side)[:, :, top : top + 4]


class SeedsTheGenerator(_Stateful):
    """Sets the seed in its forward, to be the same every time."""

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        torch.manual_seed(0)
        return x + side + torch.rand(1).to(x)


class LastSeen(_Stateful):
    """Keeps the last map as an attribute that is no buffer, and reads it at the next call of the same size."""

    def __init__(self) -> None:
        super().__init__()
        self.last_map: Tensor | None = None

    def mix(self, x: Tensor, side: Tensor) -> Tensor:
        before, self.last_map = self.last_map, x.detach()
        return side + x if before is None or before.shape != x.shape else side + 0.5 * (x + before)
