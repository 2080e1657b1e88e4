"""How much each channel of a group matters. A criterion sees the slices that fall with each channel.

Each parameter's slices are scored apart and divided by their mean over the channels, so that a layer of large weights
does not speak for all others that share the channels.

A criterion is called as ``criterion(weights, gradients)`` and gets, by keyword, whichever of these its signature names:
``generator`` (a `torch.Generator`), ``parts`` (a `Part` for each item of `weights`) and ``activations`` (for each item
the channels' mean absolute activations, or None). What it is registered with says what it needs and means:
``gradients=True``, ``activations=True``, and ``comparable=True`` where scores of different groups may be ranked
together as they are. A criterion raises `CannotJudgeError` for a group that holds nothing to judge by.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.registry import importances
from compressvqa.torch_private import BATCH_OR_INSTANCE_NORM

Slices = list[Tensor]
Gradients = list[Tensor | None]
Criterion = Callable[..., Tensor]

_NORMS = (BATCH_OR_INSTANCE_NORM, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class CannotJudgeError(PruneError):
    """A criterion has nothing to judge a group by, for example no norm: `l1` takes its place, and the plan says so."""


@dataclass(frozen=True)
class Part:
    """Where one item of a criterion's `weights` comes from.

    Args:
        name: the parameter.
        role: "out" where its layer makes the channels, "in" where it reads them, "with" for biases, norms and tables.
        layer: class of the module that owns the parameter.
        each: positions of the parameter that fall with each channel.
        depthwise: whether it is the weight of a convolution that has a group for every channel.
    """

    name: str
    role: str
    layer: type[nn.Module]
    each: int = 1
    depthwise: bool = False

    @property
    def is_norm_scale(self) -> bool:
        """Whether it is what a normalisation multiplies its channels by."""
        norm = issubclass(self.layer, _NORMS) or "norm" in self.layer.__name__.lower()
        return norm and self.role == "with" and self.name.rpartition(".")[2] in ("weight", "scale", "gamma")


def _mean_of_shares(scores: Sequence[Tensor]) -> Tensor:
    """Scores of several parameters, each relative to its mean over the channels, averaged."""
    rows = torch.stack(list(scores))
    return (rows / rows.mean(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)).mean(0)


@importances.register("l1")
def l1(weights: Slices, gradients: Gradients) -> Tensor:
    """Mean absolute weight (Li et al., 2017, arXiv 1608.08710).

    Args:
        weights: one (channels, elements) tensor per parameter.
        gradients: not used.

    Returns:
        (channels,) scores >= 0.

    >>> l1([torch.tensor([[1.0, -1.0], [3.0, 3.0]])], [None])
    tensor([0.5000, 1.5000])
    """
    return _mean_of_shares([torch.linalg.vector_norm(w, 1, dim=1) for w in weights])  # a factor has no say in shares


@importances.register("l2")
def l2(weights: Slices, gradients: Gradients) -> Tensor:
    """Root mean square weight; arguments and result as in `l1`.

    >>> l2([torch.tensor([[1.0], [-3.0]])], [None])
    tensor([0.5000, 1.5000])
    """
    return _mean_of_shares([torch.linalg.vector_norm(w, dim=1) for w in weights])


@importances.register("lamp", comparable=True)
def lamp(weights: Slices, gradients: Gradients) -> Tensor:
    """Layer-adaptive magnitude (Lee et al., 2021, arXiv 2010.07611, equation 3), of channels instead of weights.

    The squared magnitude of a channel over the sum of those of all channels that are at least as large: inside a group
    the ranking is that of the magnitudes, and across groups no rescaling is needed (scope="global").

    Arguments as in `l1`.

    Returns:
        (channels,) scores in [0, 1]; the largest channel of every group has 1, so no group is emptied.

    >>> lamp([torch.tensor([[1.0], [2.0], [1.0]])], [None])
    tensor([0.1667, 1.0000, 0.2000])
    """
    squares = _mean_of_shares([w.square().sum(1) for w in weights])
    ascending, order = torch.sort(squares, stable=True)
    left = ascending.flip(0).cumsum(0).flip(0)
    return torch.empty_like(squares).scatter_(0, order, ascending / left.clamp_min(torch.finfo(left.dtype).tiny))


@importances.register("fpgm")
def fpgm(weights: Slices, gradients: Gradients) -> Tensor:
    """Sum of the distances to all other channels: small near the geometric median, where a channel can be replaced.

    He et al., 2019, arXiv 1811.00250, equation 5. Arguments and result as in `l1`.

    >>> fpgm([torch.tensor([[0.0], [1.0], [5.0]])], [None])
    tensor([0.9000, 0.7500, 1.3500])
    """
    # By a matrix product; in double precision, since it loses digits where two channels are nearly equal.
    mode = "use_mm_for_euclid_dist"
    wide = [w.double() for w in weights]
    return _mean_of_shares([torch.cdist(w, w, compute_mode=mode).sum(1) for w in wide]).float()


@importances.register("bn_scale")
def bn_scale(weights: Slices, gradients: Gradients, *, parts: Sequence[Part] = ()) -> Tensor:
    """|gamma| of the batch norms, and of any other norms, that scale the channels (Liu et al., 2017, arXiv 1708.06519).

    Arguments and result as in `l1`.

    Raises:
        CannotJudgeError: no norm with a scale belongs to the group.

    >>> bn_scale([torch.tensor([[0.5], [-1.5]])], [None], parts=[Part("bn.weight", "with", nn.BatchNorm2d)])
    tensor([0.5000, 1.5000])
    """
    scales = [w.abs().mean(1) for w, part in zip(weights, parts, strict=False) if part.is_norm_scale]
    if not scales:
        raise CannotJudgeError("importance 'bn_scale' needs norms with a scale, there are none", hint="'l1'")
    return _mean_of_shares(scales)


@importances.register("taylor", gradients=True)
def taylor(weights: Slices, gradients: Gradients) -> Tensor:
    """|sum of weight * gradient|: the first-order change of the loss (Molchanov et al., 2019, arXiv 1906.10771).

    Arguments and result as in `l1`, but gradients are needed.

    Raises:
        CannotJudgeError: no parameter has a gradient.

    >>> taylor([torch.tensor([[1.0], [2.0]])], [torch.tensor([[3.0], [0.5]])])
    tensor([1.5000, 0.5000])
    """
    pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    if not pairs:
        raise CannotJudgeError("importance 'taylor' needs gradients, there are none", hint="run a backward pass first")
    return _mean_of_shares([(w * g).sum(1).abs() for w, g in pairs])


@importances.register("activation", activations=True)
def activation(
    weights: Slices,
    gradients: Gradients,
    *,
    parts: Sequence[Part] = (),
    activations: Sequence[Tensor | None] = (),
) -> Tensor:
    """Mean absolute activation, as the layers that read the channels get it, over real batches.

    Molchanov et al., 2017, arXiv 1611.06440, section 2.2. A channel that no layer is seen reading is judged by what the
    layers that make it give out. Arguments and result as in `l1`, but activations are needed.

    Raises:
        CannotJudgeError: no layer of the group was seen at work.
    """
    seen = [(p.role, a) for p, a in zip(parts, activations, strict=False) if a is not None]
    read = [a for role, a in seen if role == "in"]
    if not seen:
        raise CannotJudgeError("importance 'activation' needs convolutions or linear layers, none was seen at work")
    return _mean_of_shares(read or [a for _, a in seen])


@importances.register("random")
def random(weights: Slices, gradients: Gradients, *, generator: torch.Generator | None = None) -> Tensor:
    """Random scores, uniform in [0, 1), from `generator`: the baseline that every criterion should beat."""
    return torch.rand(len(weights[0]), generator=generator)


def named_by(criterion: Criterion) -> frozenset[str]:
    """Names of the arguments that a criterion takes."""
    return frozenset(inspect.signature(criterion).parameters)


def score(
    name: str,
    weights: Slices,
    gradients: Gradients,
    generator: torch.Generator | None = None,
    *,
    parts: Sequence[Part] = (),
    activations: Sequence[Tensor | None] = (),
    criterion: Criterion | None = None,
    taken: Collection[str] | None = None,
) -> Tensor:
    """Scores from a registered criterion, which gets what its signature names.

    Args:
        name: of the criterion.
        criterion: the criterion itself, where it was looked up already.
        taken: what its signature names, likewise.

    Raises:
        PruneError: its result is not one finite number per channel.
    """
    criterion = criterion or importances[name].value
    offers = {"generator": generator, "parts": parts, "activations": activations}
    taken = named_by(criterion) if taken is None else taken
    scores = criterion(weights, gradients, **{key: value for key, value in offers.items() if key in taken})
    channels = len(weights[0])
    if scores.shape != (channels,):
        raise PruneError(f"importance {name!r} returned shape {tuple(scores.shape)} for {channels} channels")
    if not np.isfinite(scores.detach().cpu().numpy()).all():
        raise PruneError(f"importance {name!r} is not finite everywhere", hint="look for NaN in the weights")
    return scores
