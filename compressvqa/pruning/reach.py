"""Whether a network could be pruned as asked at all, whatever its weights: told before they are trained.

The widths that a plan may choose from hang on the network's structure and on the settings alone, so a target that no
cut reaches is known after one trace. What hangs on weights is not foreseen: channels that the proof will find to be
unobservable stay too, and a latency is only known by the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from compressvqa.errors import TargetError
from compressvqa.pruning.dependency.trace import Trace, trace_open
from compressvqa.pruning.notes import nothing_to_remove
from compressvqa.pruning.prune import prune
from compressvqa.pruning.recording.doors import enter, has_numbers
from compressvqa.pruning.recording.garbage import only_new_garbage
from compressvqa.pruning.search import Search
from compressvqa.pruning.settings import Settings

TARGETS = ("target_macs", "target_params")


@torch.inference_mode(False)
def check_reach(model: nn.Module, inputs: Any, *, also: Sequence[Any] = (), **settings: Any) -> None:
    """Refuses what no weights of this structure make possible.

    Args:
        model: the network, with any weights; it is left as it was.
        inputs: what it is called with, as in `prune`.
        also: other ways in which it is called.
        settings: those of `prune` but for `ratios`: layers may lose as much as the other settings let them.

    Raises:
        PruneError: a target is smaller than the smallest network that the settings allow (`where` is the target that
            is), no channel may go at all, or something under `protect` is no layer with channels.
    """
    sized = any(settings.get(name) is not None for name in TARGETS)
    # Which channels go hangs on the importance, how many may does not.
    asked = Settings.of(**{**settings, "importance": "l1"}, also=also, ratios=None if sized else 1.0)
    network, inputs, _ = enter(model, inputs)
    has_numbers(network)
    with only_new_garbage():
        traced = trace_open(network, inputs, also=asked.also)
        choices = ("keep", "heads") if asked.attention == "auto" else (asked.attention,)
        for last, attention in enumerate(choices, 1):
            try:
                _check(network, traced.with_attention(attention), asked)
                return
            except TargetError:
                if last == len(choices) or not traced.dependencies.attends:
                    raise


def _check(model: nn.Module, traced: Trace, settings: Settings) -> None:
    search = Search(model, traced.entries[0].inputs, traced, settings)
    if not search.free and not search.dead:
        raise nothing_to_remove(search.groups, traced)
    cost = search.cost()
    try:
        plan = search.plan(cost, settings.target_macs)
    except TargetError as error:
        raise TargetError(error.what, where=_missed(search, settings), hint=error.hint) from error
    if search.dead or any(kept < channels for _, channels, kept in plan.widths):
        return
    if settings.ratios is None:  # a target of 1
        raise nothing_to_remove(search.groups, traced)
    raise TargetError(
        "no layer may become narrower with these round_to, min_channels and max_ratio", hint="smaller ones of the first"
    )


def _missed(search: Search, settings: Settings) -> str:
    """Of the targets the one that can't be met, the first where only both together can't."""
    for name in TARGETS:
        others = {other: None for other in TARGETS if other != name}
        if getattr(settings, name) is not None:
            alone = settings.but(**others)
            try:
                search.settings = alone
                search.plan(search.cost(), alone.target_macs)
            except TargetError:
                return name
            finally:
                search.settings = settings
    return next(name for name in TARGETS if getattr(settings, name) is not None)


def foreseen(model: nn.Module, inputs: Any, *, also: Sequence[Any] = (), **settings: Any) -> nn.Module | None:
    """The network as it will be pruned, with whatever channels: None where its widths hang on weights or on the clock.

    Arguments as in `check_reach`, which has let them pass.
    """
    sized = any(settings.get(name) is not None for name in TARGETS)
    asked = Settings.of(**{**settings, "importance": "l1"}, also=also, ratios=None if sized else 1.0)
    if not sized or asked.target_latency is not None or asked.scope == "global":
        return None
    return prune(model, inputs, also=also, verify=False, **{**settings, "importance": "l1"}).model
