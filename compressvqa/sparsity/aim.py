"""What sparsity on channels aims at: which channels may go, and how many of each group for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.trace import trace
from compressvqa.pruning.prune import prune
from compressvqa.pruning.widths.cost import NetworkCost
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.sparsity.budget import Usage, usage_of
from compressvqa.sparsity.channels import Channels


@dataclass(frozen=True)
class Aim:
    """A goal that pruning was seen to reach.

    Args:
        channels: the channels that vanish without loss once they are zero.
        plan: widths that meet the budget, all groups alike; groups that can't go without loss are whole.
        used: share of the budget used, by the number of channels gone from each group; None without a budget.
    """

    channels: Channels
    plan: PruningPlan
    used: Usage | None


def aim_of(
    network: nn.Module,
    inputs: Any,
    *,
    also: Sequence[Any] = (),
    target_params: float | None = None,
    target_macs: float | None = None,
    target_channels: float | None = None,
    protect: Sequence[str] = (),
) -> Aim:
    """Rehearses the pruning on a copy, so that what can't be cut is known before it is trained to zero.

    Args:
        network: the network; it is left as it was.
        inputs: what it is called with, as in `prune`.
        also: other ways in which it is called, as in `prune`.
        target_params: share of the parameters to keep, in (0, 1].
        target_macs: share of the multiply-accumulates to keep, in (0, 1]; with both, neither is exceeded.
        target_channels: share of the channels of every group to keep, in (0, 1]; not with the others.
        protect: paths of layers whose output channels all stay.

    Raises:
        PruneError: nothing can be pruned, or a target is out of reach without the groups that must stay whole.
        RecipeError: no channel can be removed without loss.
    """
    traced = trace(network, inputs, also=also)
    groups = [g for g in find_groups(traced, protect) if not traced.is_dead(g.producers)]
    first = Channels.of(network, traced, groups)
    whole = [g for g in groups if g.name in first.left_out and g.frozen is None]
    budget = target_params is not None or target_macs is not None
    pruned = prune(
        network,
        inputs,
        also=also,
        # Without a budget only the proof counts: which groups can be cut at all.
        ratios=None if budget else 0.5 if target_channels is None else 1 - target_channels,
        target_params=target_params,
        target_macs=target_macs,
        protect=[*protect, *dict.fromkeys(path for g in whole for path in g.producers)],
    )
    channels = Channels.of(network, pruned.trace, pruned.groups)
    # The first look knows better why a group stays whole than "protected".
    channels.left_out.update(first.left_out)
    if not budget and target_channels is None:
        return Aim(channels, pruned.plan, None)
    used = usage_of(
        NetworkCost.of(pruned.trace, channels.groups, without=pruned.dead),
        channels,
        target_params=target_params,
        target_macs=target_macs,
        target_channels=target_channels,
    )
    return Aim(channels, pruned.plan, used)
