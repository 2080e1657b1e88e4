"""From densities to the share of channels that each layer loses.

D_L = nonzeros(L) / size(L). The paper (Feng et al., "RankDVQA-mini") goes from the last layer backwards and gives
layer L D_L * C_in input channels; tied layers take the largest demand. Since a layer then keeps about D_L * D_{L+1} of
its weights, the result can be smaller than the number of non-zeros; `sqrt` and `budget` are the ways round that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from compressvqa.errors import PruneError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.trace import Trace, trace
from compressvqa.pruning.recording.examples import examples_of
from compressvqa.pruning.settings import Settings
from compressvqa.pruning.widths.cost import NetworkCost
from compressvqa.pruning.widths.density import LayerDensity, density, overall
from compressvqa.pruning.widths.planning import make_plan
from compressvqa.registry import ratio_rules


@dataclass(frozen=True)
class GroupDensity:
    """Densities of the layers around a group of channels, in [0, 1].

    Args:
        producers: of the layers that make the channels, by path.
        consumers: of the layers that read them, by path.
    """

    producers: dict[str, float]
    consumers: dict[str, float]


RatioRule = Callable[[GroupDensity, float], float]


@ratio_rules.register("in")
def demanded(group: GroupDensity, overall: float) -> float:
    """Keeps what the densest reader asks for: max over consumers of D_L (the paper's rule).

    >>> demanded(GroupDensity({"a": 0.9}, {"b": 0.1, "c": 0.3}), 0.5)
    0.3
    """
    return max(group.consumers.values(), default=max(group.producers.values(), default=1.0))


@ratio_rules.register("sqrt")
def root(group: GroupDensity, overall: float) -> float:
    """Keeps the square root of what `in` keeps, so that a layer keeps about D_L of its weights.

    >>> root(GroupDensity({}, {"b": 0.25}), 0.5)
    0.5
    """
    return math.sqrt(demanded(group, overall))


@ratio_rules.register("max")
def densest(group: GroupDensity, overall: float) -> float:
    """Keeps the largest density among the layers that make or read the channels.

    >>> densest(GroupDensity({"a": 0.9}, {"b": 0.1}), 0.5)
    0.9
    """
    return max([*group.producers.values(), *group.consumers.values()], default=1.0)


@ratio_rules.register("uniform")
def uniform(group: GroupDensity, overall: float) -> float:
    """Keeps the overall density everywhere.

    >>> uniform(GroupDensity({}, {}), 0.5)
    0.5
    """
    return overall


@ratio_rules.register("budget", scaled=True)
def budget(group: GroupDensity, overall: float) -> float:
    """Keeps what `in` keeps, raised to one exponent so that as many parameters are left as non-zeros."""
    return demanded(group, overall)


def density_ratios(
    model: nn.Module, rule: str = "in", *, inputs: Any = None, also: Sequence[Any] = ()
) -> dict[str, float]:
    """Share of output channels to remove from every layer, from the zeros that a sparsifier left.

    Args:
        model: the sparse network.
        rule: a registered ratio rule: "in", "sqrt", "max", "uniform", "budget".
        inputs: what the network is called with; by default what `example_inputs` gives for a network of `create_model`.
        also: other ways in which it is called, as in `prune`.

    Returns:
        {path of a layer: share removed, in [0, 1]} for layers whose channels can go; give it to `prune(ratios=...)`.

    Raises:
        PruneError: no inputs are given for a network that `create_model` did not make, or a rule breaks its promise.
    """
    traced = trace(model, examples_of(model) if inputs is None else inputs, also=also)
    return ratios_of(model, traced, rule)


def ratios_of(model: nn.Module, traced: Trace, rule: str) -> dict[str, float]:
    """`density_ratios` of a network that was traced already."""
    groups = [g for g in find_groups(traced) if g.frozen is None and not traced.is_dead(g.producers)]
    # A reader whose own result nobody reads constraints nothing; it is dense, since no gradient ever reached it.
    layers = {path: layer for path, layer in density(model).items() if not traced.is_dead([path])}
    entry = ratio_rules[rule]
    keep = [_share(entry.value, rule, group, layers) for group in groups]
    if entry.facts.get("scaled"):
        keep = _scaled(model, traced, groups, keep)
    return {path: 1.0 - share for group, share in zip(groups, keep, strict=True) for path in group.producers}


def _share(function: RatioRule, rule: str, group: Group, layers: dict[str, LayerDensity]) -> float:
    def around(paths: dict[str, int]) -> dict[str, float]:
        return {path: layers[path].density for path in paths if path in layers}

    share = function(GroupDensity(around(group.producers), around(group.consumers)), overall(layers))
    if not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise PruneError(f"ratio rule {rule!r} keeps {share!r} of {group.name}, not a share in [0, 1]")
    return float(share)


def _scaled(model: nn.Module, traced: Trace, groups: list[Group], keep: list[float]) -> list[float]:
    """Shares raised to the one exponent that leaves as many parameters as are not zero."""
    alive = [p for name, p in model.named_parameters() if name not in traced.dead_parameters]
    wanted = sum(int((p != 0).sum()) for p in alive)
    cost = NetworkCost.of(traced, groups, without=tuple(traced.dead))
    channels = np.array([g.channels for g in groups], dtype=np.float64)
    shares = np.maximum(np.array(keep), 0.5 / channels) if groups else np.array(keep)

    def left(t: float) -> int:
        kept = np.maximum(1, np.round(channels * shares**t))
        return cost.params.at((channels - kept).astype(np.int64))

    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) > wanted else (low, middle)
    return [float(k) for k in np.minimum(1.0, shares**high)]


@dataclass(frozen=True)
class RuleReport:
    """What a rule would do.

    Args:
        rule: its name.
        density: share of non-zero weights now.
        planned: share of channels kept, averaged over channels.
        params: share of parameters of the pruned network.
        macs: share of its multiply-accumulates.
    """

    rule: str
    density: float
    planned: float
    params: float
    macs: float


def compare_rules(model: nn.Module, inputs: Any = None, rules: list[str] | None = None) -> list[RuleReport]:
    """Density, planned share and real size for every rule, without pruning anything.

    Args:
        model: the sparse network.
        inputs: as in `density_ratios`.
        rules: names; all registered ones by default.
    """
    traced = trace(model, examples_of(model) if inputs is None else inputs)
    dead = tuple(traced.dead)
    groups = [g for g in find_groups(traced) if not traced.is_dead(g.producers)]
    cost = NetworkCost.of(traced, [g for g in groups if g.frozen is None], without=dead)
    reports = []
    for rule in rules or list(ratio_rules):
        plan = make_plan(groups, cost, Settings.of(ratios=ratios_of(model, traced, rule)), dead=dead)
        before, after = sum(n for _, n, _ in plan.widths), sum(k for _, _, k in plan.widths)
        shares = (after / max(before, 1), plan.params[1] / plan.params[0], plan.macs[1] / max(plan.macs[0], 1))
        reports.append(RuleReport(rule, overall(density(model)), *shares))
    return reports
