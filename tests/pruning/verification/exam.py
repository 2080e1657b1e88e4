"""An exam for a verifier: right results that it must confirm, and broken ones that it must refuse."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pruning.nets import REGISTRY
from pruning.patterns import PATTERNS
from pruning.verification.breakages import BREAKAGES
from torch import nn

from compressvqa.pruning import Verification, prune

# Networks in which every layer's own forward runs, so that each breakage changes what they compute.
NAMES = ("ChannelsLastNorm", "Plain", "DenseCat", "Siamese", "SqueezeExcite", "FoldPermute", "WeightNorm",
         "ChannelSplit", "InvertedResidual", "GRUFrames")  # fmt: skip

Verify = Callable[..., Verification]


def unique(net: nn.Module, seed: int) -> nn.Module:
    """Noise on all weights and running statistics, so that no value stands twice."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter.numel() / len(parameter) if parameter.ndim > 1 else 4.0
            parameter.add_(torch.randn(parameter.shape, generator=dice) * 0.5 / fan_in**0.5)
        for name, buffer in net.named_buffers():
            if "running" in name and buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, generator=dice))
    return net.eval()


def pruned_networks() -> Iterator[tuple[str, nn.Module, nn.Module, Any]]:
    """(name, original, pruned, inputs) of networks that were pruned rightly."""
    for name in NAMES:
        kind = PATTERNS.get(name) or REGISTRY.get(name)
        if kind is not None:
            torch.manual_seed(0)
            net = unique(kind(), 1)
            yield name, net, prune(net, net.inputs(), ratios=0.5, importance="random").model, net.inputs()


def mistakes(verify: Verify, *, seeds: int = 1) -> Iterator[str]:
    """What a verifier says that is not true, one by one."""
    for name, net, small, inputs in pruned_networks():
        right = verify(net, small, inputs)
        if not right.passed:
            yield f"{name}: refused, {right.status}"
            continue
        for kind, spoil in BREAKAGES.items():
            for seed in range(seeds):
                wrong = copy.deepcopy(small)
                where = spoil(net, wrong, right.kept, random.Random(f"{name} {kind} {seed}"))
                if where is not None and where not in right.unobservable:
                    answer = verify(net, wrong, inputs, power=False)
                    if answer.passed:
                        yield f"{name}: {kind} at {where} was confirmed"
