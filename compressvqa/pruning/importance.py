"""How much each channel of a group matters. A criterion sees the slices that fall with each channel.

Each parameter's slices are scored apart and divided by their mean over the channels, so that a layer of large weights
does not speak for all others that share the channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from compressvqa.errors import PruneError
from compressvqa.registry import importances

Slices = list[Tensor]
Gradients = list[Tensor | None]


def _mean_of_shares(scores: list[Tensor]) -> Tensor:
    """Scores of several parameters, each relative to its mean over the channels, averaged."""
    shares = [s / s.mean().clamp_min(torch.finfo(s.dtype).tiny) for s in scores]
    return torch.stack(shares).mean(0)


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
    return _mean_of_shares([w.abs().mean(1) for w in weights])


@importances.register("l2")
def l2(weights: Slices, gradients: Gradients) -> Tensor:
    """Root mean square weight; arguments and result as in `l1`.

    >>> l2([torch.tensor([[1.0], [-3.0]])], [None])
    tensor([0.5000, 1.5000])
    """
    return _mean_of_shares([w.square().mean(1).sqrt() for w in weights])


@importances.register("taylor", gradients=True)
def taylor(weights: Slices, gradients: Gradients) -> Tensor:
    """|sum of weight * gradient|: the first-order change of the loss (Molchanov et al., 2019, arXiv 1906.10771).

    Arguments and result as in `l1`, but gradients are needed.

    Raises:
        PruneError: no parameter has a gradient.

    >>> taylor([torch.tensor([[1.0], [2.0]])], [torch.tensor([[3.0], [0.5]])])
    tensor([1.5000, 0.5000])
    """
    pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    if not pairs:
        raise PruneError("importance 'taylor' needs gradients, there are none", hint="run a backward pass first")
    return _mean_of_shares([(w * g).sum(1).abs() for w, g in pairs])


@importances.register("random")
def random(weights: Slices, gradients: Gradients, *, generator: torch.Generator | None = None) -> Tensor:
    """Random scores, uniform in [0, 1), from `generator`: the baseline that every criterion should beat."""
    return torch.rand(len(weights[0]), generator=generator)


def score(name: str, weights: Slices, gradients: Gradients, generator: torch.Generator) -> Tensor:
    """Scores from a registered criterion, which gets the generator if it takes one.

    Raises:
        PruneError: its result is not one finite number per channel.
    """
    criterion: Callable[..., Tensor] = importances[name].value
    takes = "generator" in inspect.signature(criterion).parameters
    scores = criterion(weights, gradients, **({"generator": generator} if takes else {}))
    channels = len(weights[0])
    if scores.shape != (channels,):
        raise PruneError(f"importance {name!r} returned shape {tuple(scores.shape)} for {channels} channels")
    if not bool(torch.isfinite(scores).all()):
        raise PruneError(f"importance {name!r} is not finite everywhere", hint="look for NaN in the weights")
    return scores
