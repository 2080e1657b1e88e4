"""Cuts channels out of a network: trace, plan, cut, prove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from compressvqa.errors import TargetError
from compressvqa.pruning.cutting.choice import removed_outputs
from compressvqa.pruning.cutting.proof.power import Power
from compressvqa.pruning.dependency.trace import Trace, trace_open
from compressvqa.pruning.notes import (
    by_trial,
    by_widths,
    did_not_run,
    nothing_to_remove,
    one_way,
    over_the_kept,
)
from compressvqa.pruning.pruned import Pruned
from compressvqa.pruning.recording.doors import enter, has_numbers
from compressvqa.pruning.recording.garbage import only_new_garbage
from compressvqa.pruning.search import Search
from compressvqa.pruning.settings import Importance, Ratios, Runtime, Settings, described
from compressvqa.random_weights import hand_on


@described
def prune(
    model: nn.Module,
    inputs: Any,
    *,
    also: Sequence[Any] = (),
    ratios: Ratios = None,
    target_macs: float | None = None,
    target_params: float | None = None,
    target_latency: float | None = None,
    runtime: Runtime = "eager",
    importance: str | Importance | Callable[..., Any] = "l1",
    scope: str = "local",
    max_ratio: float | None = None,
    attention: str = "auto",
    protect: str | Sequence[str] = (),
    round_to: int | str = 1,
    min_channels: int = 1,
    verify: bool = True,
    unobservable: str = "keep",
    remove_dead: bool = True,
    seed: int = 0,
) -> Pruned:
    """Removes channels from any network. Every setting is explained where it is declared, in `pruning/settings.py`.

    Args:
        model: the network; it is left as it was. The result has no wrapper (`nn.DataParallel`, `torch.compile`).
        inputs: what it is called with: a tuple (by position), a dict (by name) or one tensor. A list of tuples or dicts
            is several examples: what holds must hold for each; work and latency are those of the first.
        ...

    Returns:
        The network and its history. Groups that turn out not to fit are kept whole, with the reason in `plan.frozen`.

    Raises:
        PruneError: the network or its inputs are not accepted, or it raises an error; nothing can be pruned, a path or
            number is wrong, a target is out of reach, or the result is not provably right.
        MissingExtraError: the runtime is not installed.
    """
    settings = Settings.of(
        also=also,
        ratios=ratios,
        target_macs=target_macs,
        target_params=target_params,
        target_latency=target_latency,
        runtime=runtime,
        importance=importance,
        scope=scope,
        max_ratio=max_ratio,
        attention=attention,
        protect=protect,
        round_to=round_to,
        min_channels=min_channels,
        verify=verify,
        unobservable=unobservable,
        remove_dead=remove_dead,
        seed=seed,
    )
    network, inputs, wrappers = enter(model, inputs)
    has_numbers(network)
    with only_new_garbage():
        pruned = prune_traced(network, trace_open(network, inputs, also=settings.also), settings)
    return pruned.noting(*(f"{wrapper} is left out: the result is the network inside" for wrapper in wrappers))


def prune_traced(
    model: nn.Module,
    traced: Trace,
    settings: Settings,
    *,
    baseline: nn.Module | None = None,
    may_be_idle: bool = False,
) -> Pruned:
    """`prune` of a network that was traced already.

    Args:
        traced: its trace, with whatever choice for attention.
        baseline: the network whose latency the target is a share of; by default the one given.
        may_be_idle: whether removing nothing is no error.
    """
    asked = settings.attention
    traced = traced.with_attention("keep" if asked == "auto" else asked)
    try:
        return _plan_cut_prove(model, traced, settings, baseline or model, may_be_idle)
    except TargetError:
        if asked != "auto" or not traced.dependencies.attends:
            raise
    traced = traced.with_attention("heads")
    pruned = _plan_cut_prove(model, traced, settings, baseline or model, may_be_idle)
    return pruned.noting("attention heads go as well, since the target can't be reached otherwise")


@torch.inference_mode(False)
def _plan_cut_prove(
    model: nn.Module, traced: Trace, settings: Settings, baseline: nn.Module, may_be_idle: bool
) -> Pruned:
    """Tries plans until one is right: each is cut into a copy, and the copy is held against the original."""
    inputs = traced.entries[0].inputs
    search = Search(model, inputs, traced, settings)
    if settings.target_latency is None:
        trial = search.meet_size(settings.target_macs)
    else:
        trial = search.meet_latency(settings.target_latency, baseline)
    if not trial.cuts and not search.dead and not may_be_idle:
        raise nothing_to_remove(search.groups, traced)
    notes = (
        *hand_on(model, trial.model),
        *trial.plan.notes,
        *search.scores.notes(),
        *search.notes,
        *over_the_kept(traced, trial.cuts),
        *one_way(traced),
        *by_trial(traced, settings),
        *did_not_run(traced),
        *by_widths(traced, trial.cuts),
    )
    return Pruned(
        model=trial.model,
        max_error=None if trial.verdict is None else trial.verdict.error,
        power=Power() if trial.verdict is None else trial.verdict.power,
        groups=search.groups,
        plan=replace(trial.plan, notes=notes),
        removed=removed_outputs(trial.cuts),
        dead=search.dead,
        trace=traced,
        _original=model,
        _inputs=inputs,
    )
