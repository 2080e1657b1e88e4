"""What must hold for every network: it is refused by name, or pruned and equal to the naive reference.

Shared by `test_random_nets.py` (dozens) and `benchmarks/random_networks.py` (thousands).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from pruning.grammar import RandomNet
from pruning.reference import difference, expected_shapes, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import Pruned, prune

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Outcome:
    """How a network fared: the largest error of its prunings, or why it was refused."""

    error: float | None
    refusal: str | None = None
    pruned: Pruned | None = None
    taken_back: tuple[str, ...] = ()  # what the verifier kept after all


def examine(net: RandomNet, seed: int, **asked: Any) -> Outcome:
    """Prunes a network once as asked and once more what came out, and tries both against the reference.

    Raises:
        AssertionError: the property does not hold.
    """
    state, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    first = attempt(net, net, seed, **asked)
    assert all(_same(tensor, state[name]) for name, tensor in net.state_dict().items()), "the original was changed"
    assert [m.training for m in net.modules()] == modes, "the original's mode was changed"
    if first.pruned is not None:
        second = attempt(first.pruned.model, net, seed + 1, ratios=0.5, importance="random")
        return Outcome(max(first.error or 0, second.error or 0), None, first.pruned, first.taken_back)
    return first


def attempt(model: nn.Module, made: RandomNet, seed: int, **asked: Any) -> Outcome:
    """One pruning of `model`, which is called as `made` is."""
    try:
        pruned = prune(model, made.example(seed), seed=seed, **asked)
    except PruneError as refusal:
        layers = [path for path, _ in model.named_modules() if path]
        assert any(path in str(refusal) for path in layers), f"a refusal that names no layer: {refusal}"
        return Outcome(None, str(refusal))
    bundles: dict[str, set[float]] = {}
    for group in pruned.groups:
        if (bundle := getattr(group, "coupling", None)) is not None:
            bundles.setdefault(bundle, set()).add(pruned.plan.kept.get(group.name, group.channels) / group.unit)
    assert all(len(units) == 1 and units.pop().is_integer() for units in bundles.values()), "a bundle came apart"
    shapes = {name: tuple(tensor.shape) for name, tensor in pruned.model.state_dict().items()}
    assert shapes == expected_shapes(model, pruned), "the layers are not as wide as the plan says"
    error = 0.0
    reference, small = zeroed(model, gone_slots(pruned)), copy.deepcopy(pruned.model).double()
    for clips in (2, 3):  # not the numbers that it was traced with, and not only as many
        error = max(error, difference(small, reference, made.example(seed + 1000 + clips, clips)))
    assert error <= TOLERANCE, f"pruned and zeroed differ by {error:.1e}; the verifier said {pruned.max_error}"
    return Outcome(error, None, pruned, tuple(n for n in pruned.plan.notes if "kept whole after all" in n))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
