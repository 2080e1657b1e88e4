"""Weights whose values tell them apart: what is left of a tensor can then be found again by its values alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LARGE = 2**17  # elements from which on a tensor loses the order of its elements
_SPREAD = 0.25  # of a tensor whose elements are all equal, as those of a new normalisation are
_SEED = 11


def distinct(model: nn.Module) -> nn.Module:
    """The network itself, changed so that no element of a parameter or running statistic stands twice or is zero.

    The mean and deviation of a tensor stay as they were, and the order of its elements in all but large ones, so that
    the network computes something of the kind that its author meant. Single numbers (a learnt scale) stay as they are.
    """
    dice = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            if isinstance(parameter, nn.parameter.UninitializedParameter) or parameter.numel() < 2:
                continue
            if parameter.is_floating_point():
                parameter.copy_(spread(parameter, dice))
            elif parameter.is_complex():
                parts = torch.view_as_real(parameter)
                parts.copy_(torch.stack([spread(parts[..., 0], dice), spread(parts[..., 1], dice)], -1))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")) and buffer.numel() > 1:
                buffer.copy_(spread(buffer, dice))
    return model


def settle(model: nn.Module, args: tuple[Tensor, ...]) -> nn.Module:
    """The network itself, whose batch normalisations got the statistics of what they meet on these inputs.

    A channel that does not move on them gets a tenth of the others' variance, or it would be blown up on other inputs.
    Both statistics are spread, as `distinct` does it: channels that are off have the same ones.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None  # the mean of all batches: a siamese network meets two
    dice = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        model(*args)
        for norm, momentum in zip(norms, before, strict=True):
            norm.eval().momentum = momentum
            mean, variance = norm.running_mean, norm.running_var
            mean.copy_(spread(mean, dice))
            variance.copy_(spread((variance + 0.1 * variance.mean()).log(), dice).exp())
    return model


def spread(tensor: Tensor, dice: torch.Generator) -> Tensor:
    """Evenly spaced values in the order of the elements, ties broken at random.

    >>> spread(torch.tensor([1.0, 1.0, 1.0]), torch.Generator().manual_seed(0)).sort().values
    tensor([0.8333, 1.0000, 1.1667])
    """
    if tensor.numel() > _LARGE:
        mean, deviation = float(tensor.mean()), float(tensor.std())
        # Evenly spaced and in no order: beyond 2 ** 23 of them 32 bits would give some twice.
        places = torch.randperm(tensor.numel(), generator=dice).double().add_(0.5).mul_(2 / tensor.numel()).sub_(1)
        return places.mul_(3**0.5 * (deviation or _SPREAD)).add_(mean).to(tensor.dtype).view(tensor.shape)
    flat = tensor.detach().double().flatten()
    shuffled = torch.randperm(len(flat), generator=dice)
    order = shuffled[flat[shuffled].argsort(stable=True)]
    rank = torch.empty(len(flat), dtype=torch.double)
    rank[order] = (torch.arange(len(flat), dtype=torch.double) + 0.5) / len(flat)
    deviation = float(flat.std(correction=0))
    # A tensor of one value (ones, zeros, a layer scale of 1e-5) gets a spread that can be seen.
    half = 3**0.5 * deviation if deviation > 1e-3 * max(1e-3, float(flat.abs().max())) else _SPREAD
    values = (flat.mean() + half * (2 * rank - 1)).to(tensor.dtype)
    values[values == 0] = torch.finfo(tensor.dtype).tiny
    return values.view(tensor.shape)
