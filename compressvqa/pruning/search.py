"""One pruning on its way: plan, cut and check, again and again until what is left is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.module_paths import covers
from compressvqa.pruning.cutting.bisection import groups_at_fault
from compressvqa.pruning.cutting.choice import ChannelScores, Cut, choose
from compressvqa.pruning.cutting.proof.check import Proof
from compressvqa.pruning.cutting.proof.pair import pruned_copy
from compressvqa.pruning.cutting.proof.verdict import Verdict, refused
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.names import unmatched
from compressvqa.pruning.dependency.plain import plain_numbers
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.settings import Settings
from compressvqa.pruning.widths.cost import NetworkCost
from compressvqa.pruning.widths.latency import find
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.planning import least_macs, make_plan
from compressvqa.pruning.widths.runtimes import Timing, call_of, compare, name_of
from compressvqa.torch_private import tables


@dataclass(frozen=True)
class Trial:
    """A plan, the channels that it takes, the result, and whether it is right."""

    plan: PruningPlan
    cuts: list[Cut]
    model: nn.Module
    verdict: Verdict | None


class Search:
    """One pruning on its way: the groups that are still thought to be prunable, and what was said so far."""

    def __init__(self, model: nn.Module, inputs: Any, trace: Trace, settings: Settings) -> None:
        self.model, self.inputs, self.trace, self.settings = model, inputs, trace, settings
        self.proof = Proof(model, trace, inputs, settings.seed)
        self.dead = tuple(trace.dead) if settings.remove_dead else ()
        found = find_groups(trace, settings.protect)
        self.groups = [g for g in found if not (settings.remove_dead and trace.is_dead(g.producers))]
        for pattern in settings.protect:
            layers = [*(path for group in self.groups for path in group.producers), *_of_one_channel(model)]
            if not any(covers(pattern, path) for path in layers):
                raise unmatched(pattern, self.groups, "protect")
        generator = torch.Generator().manual_seed(settings.seed)
        self.scores = ChannelScores(
            model,
            settings.importance,
            inputs,
            generator,
            without=trace.dead_parameters,
            divided=trace.dependencies.unzeroed,
        )
        self.notes: tuple[str, ...] = ()

    @property
    def free(self) -> list[Group]:
        """The groups that may shrink."""
        return [g for g in self.groups if g.frozen is None]

    def cost(self) -> NetworkCost:
        """The cost of the widths of `free`."""
        return NetworkCost.of(self.trace, self.free, without=self.dead)

    def plan(self, cost: NetworkCost, target_macs: float | None) -> PruningPlan:
        """What is asked for, with this target."""
        settings = self.settings.but(target_macs=target_macs)
        return make_plan(self.groups, cost, settings, dead=self.dead, scores=self.scores)

    def cut(self, plan: PruningPlan) -> list[Cut]:
        """The channels that a plan takes."""
        return choose(self.free, plan.kept, self._zeros_first if self.settings.ratios == "zeros" else self.scores.of)

    def trial(self, plan: PruningPlan) -> Trial | None:
        """Cuts and checks; None where groups spoil the result, which are kept whole from now on.

        Raises:
            PruneError: it is not right, and no group is at fault.
        """
        cuts = self.cut(plan)
        small = pruned_copy(self.model, self.trace, cuts, self.dead)
        verdict = self.proof.verdict(cuts, self.dead, small, power=True) if self.settings.verify else None
        if verdict is None or (verdict.passed and not self._to_be_kept(verdict)):
            return Trial(plan, cuts, small, verdict)
        kept = self._to_be_kept(verdict) if verdict.passed else groups_at_fault(self.proof, cuts, self.dead, verdict)
        if not kept:
            raise refused(verdict, [c.group.name for c in cuts] or list(self.dead), self.model)
        if not verdict.passed:
            numbers = {c.group.name: plain_numbers(self.trace, c.group) for c in cuts}
            kept = {name: reason + numbers.get(name, "") for name, reason in kept.items()}
        self.groups = [replace(g, frozen=kept.get(g.name, g.frozen)) for g in self.groups]
        self.dead = tuple(path for path in self.dead if path not in kept)
        self.notes += tuple(f"{name}: kept whole after all, {reason}" for name, reason in kept.items())
        return None

    def _to_be_kept(self, verdict: Verdict) -> Mapping[str, str]:
        return verdict.power.unobservable if self.settings.unobservable == "keep" else {}

    def meet_size(self, target_macs: float | None) -> Trial:
        """Plans until a plan is right."""
        while True:
            trial = self.trial(self.plan(self.cost(), target_macs))
            if trial is not None:
                return trial

    def meet_latency(self, target: float, baseline: nn.Module) -> Trial:
        """Plans by the clock, after a first plan has shown which groups can't be cut."""
        settings, inputs = self.settings, self.inputs
        before = call_of(settings.runtime, baseline, inputs)
        most = 1.0 if settings.target_macs is None else settings.target_macs

        def measure(plan: PruningPlan, near: float) -> Timing:
            small = pruned_copy(self.model, self.trace, self.cut(plan), self.dead)
            return compare(before, call_of(settings.runtime, small, inputs), name_of(settings.runtime), near=near)

        self.meet_size(min(most, max(target, self._least(self.cost()))))
        while True:
            cost = self.cost()
            found = find(target, partial(self.plan, cost), measure, self._least(cost), most)
            # The share of the MACs was the search's own, so what a plan says of it is true of the latency.
            said = [n.replace("target_macs", "target_latency") for n in found.plan.notes if n[:12] != "target_macs="]
            trial = self.trial(replace(found.plan, latency=found.timing, notes=(*said, *found.notes)))
            if trial is not None:
                return trial

    def _least(self, cost: NetworkCost) -> float:
        return least_macs(self.groups, cost, self.settings, self.scores)

    def _zeros_first(self, group: Group) -> Tensor:
        order = torch.ones(group.channels)
        order[torch.from_numpy(self.scores.zero(group))] = 0
        return order


def _of_one_channel(model: nn.Module) -> list[str]:
    """Paths of the layers with one output, such as the head of a scorer: they keep it, asked for or not."""
    found = []
    for path, module in modules_of(model):
        weight = tables(module)[0].get("weight")
        if weight is not None and weight.ndim > 1 and weight.shape[int(getattr(module, "transposed", False))] == 1:
            found.append(path)
    return found
