"""One pruning on its way: plan, cut and check, again and again until what is left is right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.pruning.choice import Cut, Scores, choose
from compressvqa.pruning.cost import Cost
from compressvqa.pruning.culprits import culprits
from compressvqa.pruning.groups import Group, find_groups, matches
from compressvqa.pruning.latency import find
from compressvqa.pruning.plan import PruningPlan, least_macs, make_plan, unmatched
from compressvqa.pruning.request import Request
from compressvqa.pruning.runtimes import Timing, call_of, compare, name_of
from compressvqa.pruning.trace import Trace
from compressvqa.pruning.verify import Verdict, check, pruned_copy, refused


@dataclass(frozen=True)
class Attempt:
    """A plan, the channels that it takes, the result, and whether it is right."""

    plan: PruningPlan
    cuts: list[Cut]
    model: nn.Module
    verdict: Verdict | None


class Job:
    """One pruning on its way: the groups that are still thought to be prunable, and what was said so far."""

    def __init__(self, model: nn.Module, inputs: Any, facts: Trace, request: Request) -> None:
        self.model, self.inputs, self.facts, self.request = model, inputs, facts, request
        self.dead = tuple(facts.dead) if request.remove_dead else ()
        found = find_groups(facts, request.protect)
        self.groups = [g for g in found if not (request.remove_dead and facts.is_dead(g.producers))]
        for pattern in request.protect:
            if not any(matches(path, pattern) for group in self.groups for path in group.producers):
                raise unmatched(pattern, self.groups, "protect")
        generator = torch.Generator().manual_seed(request.seed)
        self.scores = Scores(
            model,
            request.importance,
            inputs,
            generator,
            without=facts.dead_parameters,
            divided=facts.labels.unzeroed,
        )
        self.notes: tuple[str, ...] = ()

    @property
    def free(self) -> list[Group]:
        """The groups that may shrink."""
        return [g for g in self.groups if g.frozen is None]

    def cost(self) -> Cost:
        """The cost of the widths of `free`."""
        return Cost.of(self.facts, self.free, without=self.dead)

    def plan(self, cost: Cost, target_macs: float | None) -> PruningPlan:
        """What is asked for, with this target."""
        request = self.request
        return make_plan(
            self.groups,
            cost,
            ratios=request.ratios,
            target_params=request.target_params,
            target_macs=target_macs,
            limits=request.limits,
            dead=self.dead,
            scope=request.scope,
            scores=self.scores,
        )

    def cut(self, plan: PruningPlan) -> list[Cut]:
        """The channels that a plan takes."""
        return choose(self.free, plan.kept, self._zeros_first if self.request.ratios == "zeros" else self.scores.of)

    def attempt(self, plan: PruningPlan) -> Attempt | None:
        """Cuts and checks; None where groups spoil the result, which are kept whole from now on.

        Raises:
            PruneError: it is not right, and no group is at fault.
        """
        model, facts, inputs, seed = self.model, self.facts, self.inputs, self.request.seed
        cuts = self.cut(plan)
        small = pruned_copy(model, facts, cuts, self.dead)
        verdict = check(model, facts, cuts, self.dead, inputs, seed, small) if self.request.verify else None
        if verdict is None or verdict.passed:
            return Attempt(plan, cuts, small, verdict)
        kept = culprits(model, facts, cuts, self.dead, inputs, seed)
        if not kept:
            raise refused(verdict, [c.group.name for c in cuts] or list(self.dead), model)
        self.groups = [replace(g, frozen=kept.get(g.name, g.frozen)) for g in self.groups]
        self.dead = tuple(path for path in self.dead if path not in kept)
        self.notes += tuple(f"{name}: kept whole after all, {reason}" for name, reason in kept.items())
        return None

    def settle(self, target_macs: float | None) -> Attempt:
        """Plans until a plan is right."""
        while True:
            attempt = self.attempt(self.plan(self.cost(), target_macs))
            if attempt is not None:
                return attempt

    def hasten(self, target: float, baseline: nn.Module) -> Attempt:
        """Plans by the clock, after a first plan has shown which groups can't be cut."""
        request, inputs = self.request, self.inputs
        before = call_of(request.runtime, baseline, inputs)
        most = 1.0 if request.target_macs is None else request.target_macs

        def measure(plan: PruningPlan, near: float) -> Timing:
            small = pruned_copy(self.model, self.facts, self.cut(plan), self.dead)
            return compare(before, call_of(request.runtime, small, inputs), name_of(request.runtime), near=near)

        self.settle(min(most, max(target, self._least(self.cost()))))
        while True:
            cost = self.cost()
            found = find(target, partial(self.plan, cost), measure, self._least(cost), most)
            # The share of the MACs was the search's own, so what a plan says of it is true of the latency.
            said = [n.replace("target_macs", "target_latency") for n in found.plan.notes if n[:12] != "target_macs="]
            attempt = self.attempt(replace(found.plan, latency=found.timing, notes=(*said, *found.notes)))
            if attempt is not None:
                return attempt

    def _least(self, cost: Cost) -> float:
        request = self.request
        return least_macs(self.groups, cost, request.ratios, request.scope, self.scores, request.limits)

    def _zeros_first(self, group: Group) -> Tensor:
        order = torch.ones(group.channels)
        order[torch.from_numpy(self.scores.zero(group))] = 0
        return order
