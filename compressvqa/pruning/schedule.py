"""Pruning in steps, with fine-tuning between: a network given, smaller and smaller ones to train.

for pruned in Schedule(network, inputs, steps=3, target_macs=0.3):
    fine_tune(pruned.model)  # in place; the next step goes on from it
network = pruned.model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from compressvqa.errors import PruneError
from compressvqa.module_paths import closest
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.trace import Trace, trace
from compressvqa.pruning.prune import prune_traced
from compressvqa.pruning.pruned import Pruned
from compressvqa.pruning.recording.doors import enter, has_numbers
from compressvqa.pruning.settings import Ratios, Settings
from compressvqa.pruning.widths.shares import must_match


class Schedule:
    """Prunes a network in equal steps: each keeps the same share of what the step before has left.

    The steps are told apart by what the network is compared with, the one that is given here: step k of n aims at
    ``target ** (k / n)`` of its size, work or latency, or keeps ``(1 - ratio) ** (k / n)`` of its channels, so whatever
    a step misses by rounding the next one makes good, and the last one meets the target.

    Args:
        model: the network; it is left as it was.
        inputs: what it is called with, as in `prune`.
        steps: how many.
        settings: all other settings of `prune`. Importances see the network that is pruned: before every step, "taylor"
            reads the gradients that the network's parameters then hold.

    Raises:
        PruneError: a setting is wrong, or ratios are "zeros", which go at once.
    """

    def __init__(self, model: nn.Module, inputs: Any, *, steps: int, **settings: Any) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise PruneError(f"steps must be a whole number of at least 1, not {steps!r}")
        self.steps, self._settings = steps, Settings.of(**settings)
        if steps > 1 and self._settings.ratios == "zeros":
            raise PruneError("ratios='zeros' lose nothing, so they go in one step", where="steps", hint="steps=1")
        model, inputs, _ = enter(model, inputs)
        has_numbers(model)
        self._model = model
        traced = trace(model, inputs, also=self._settings.also)
        self._entries = traced.entries  # they name methods, so they call the networks of later steps as well
        self._params, self._macs = _params(traced), _macs(traced)
        self._outputs, self._channels = _free_outputs(traced, self._settings)
        self._check(traced)

    def prune(self, number: int, model: nn.Module) -> Pruned:
        """One step.

        Args:
            number: of the step, from 1 to `steps`.
            model: what the step before left, fine-tuned; for step 1 the network itself, or what is left of it without
                some of its blocks: targets then still are shares of the network that the schedule was made for.

        Raises:
            PruneError: as in `prune`.
        """
        model, _, _ = enter(model, self._entries[0].inputs)
        traced = trace(model, self._entries[0].inputs, also=self._entries[1:])
        began = _params(traced) < self._params
        settings = self._settings if self.steps == 1 and not began else self._step(number, traced)
        return prune_traced(
            model,
            traced,
            settings,
            baseline=self._model,
            may_be_idle=number < self.steps or began,
        )

    def __iter__(self) -> Iterator[Pruned]:
        """Every step in turn; the network of one is pruned by the next, so train it in place."""
        model = self._model
        for number in range(1, self.steps + 1):
            pruned = self.prune(number, model)
            yield pruned
            model = pruned.model

    def _check(self, traced: Trace) -> None:
        """Refuses at once what every step would have to refuse."""
        ratios, groups = self._settings.ratios, find_groups(traced, self._settings.protect)
        for path in ratios if isinstance(ratios, Mapping) else ():
            must_match(path, groups, [g for g in groups if g.frozen is None])

    def _step(self, number: int, traced: Trace) -> Settings:
        """What the step has to ask for, of the network that it gets."""
        settings, part = self._settings, number / self.steps

        def of_rest(target: float | None, before: int, now: int) -> float | None:
            return None if target is None else min(1.0, target**part * before / max(now, 1))

        return settings.but(
            target_params=of_rest(settings.target_params, self._params, _params(traced)),
            target_macs=of_rest(settings.target_macs, self._macs, _macs(traced)),
            target_latency=None if settings.target_latency is None else settings.target_latency**part,
            ratios=settings.ratios if settings.has_target else self._ratios(part, traced),
            max_ratio=1 - (1 - settings.largest_ratio) ** (1 / self.steps),
        )

    def _ratios(self, part: float, traced: Trace) -> Ratios:
        """The shares of the present channels to remove, so that this part of the way is gone."""
        asked = self._settings.ratios
        outputs, channels = _free_outputs(traced, self._settings)
        if self._settings.scope == "global":
            return _rest(asked, part, self._channels, channels)
        found = {}
        for path in (path for path in self._outputs if path in outputs):
            pattern = closest(asked, path) if isinstance(asked, Mapping) else None
            if pattern is not None or not isinstance(asked, Mapping):
                ratio = asked if pattern is None else asked[pattern]
                found[path] = _rest(ratio, part, self._outputs[path], outputs[path])
        return found


def _rest(ratio: float, part: float, before: int, now: int) -> float:
    """The share of what is there now that has to go."""
    kept: float = (1 - ratio) ** part * before / max(now, 1)
    return min(1.0, max(0.0, 1 - kept))


def _params(traced: Trace) -> int:
    return sum(traced.parameters.values())


def _macs(traced: Trace) -> int:
    return sum(cost.macs for cost in traced.dependencies.costs)


def _free_outputs(traced: Trace, settings: Settings) -> tuple[dict[str, int], int]:
    """Outputs that may go, by path of the layer, and the channels that may go in all."""
    groups: Sequence[Group] = find_groups(traced, settings.protect)
    free = [g for g in groups if g.frozen is None and not (settings.remove_dead and traced.is_dead(g.producers))]
    outputs: dict[str, int] = {}
    for group in free:
        for path, count in group.producers.items():
            outputs[path] = outputs.get(path, 0) + count * group.channels
    return outputs, sum(g.channels for g in free)
