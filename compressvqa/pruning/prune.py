"""The public verb: network + inputs + what to remove -> a smaller network, proven equal to the zeroed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compressvqa.errors import PruneError
from compressvqa.pruning.choice import choose, removed_outputs
from compressvqa.pruning.cost import Cost
from compressvqa.pruning.culprits import culprits
from compressvqa.pruning.groups import Group, find_groups, matches
from compressvqa.pruning.plan import PruningPlan, Ratios, Widening, make_plan, unmatched
from compressvqa.pruning.trace import Trace, trace
from compressvqa.pruning.verify import check, pruned_copy, refused

if TYPE_CHECKING:
    from compressvqa.metrics import Complexity


@dataclass(frozen=True)
class Pruned:
    """A pruned network and how it came about.

    Args:
        model: the smaller network; the one given is left as it was.
        max_error: largest difference from the original with the cut channels zeroed, relative to the output's largest
            value, over fresh random inputs, with true and with shaken weights; None without verification.
        groups: the channel groups of the original.
        plan: what was cut; `print(pruned.plan)`.
        removed: output channels that went, by path of the layer that made them.
        dead: paths of modules that were removed because nothing read their result.
        trace: what was found out about the original.
    """

    model: nn.Module
    max_error: float | None
    groups: list[Group]
    plan: PruningPlan
    removed: dict[str, tuple[int, ...]]
    dead: tuple[str, ...]
    trace: Trace = field(repr=False)
    _original: nn.Module = field(repr=False)
    _inputs: Any = field(repr=False)

    @cached_property
    def complexity_before(self) -> Complexity:
        """Parameters and multiply-accumulates of the network as it was given."""
        from compressvqa.metrics import profile

        return profile(self._original, self._inputs)

    @cached_property
    def complexity_after(self) -> Complexity:
        """Parameters and multiply-accumulates of the pruned network."""
        from compressvqa.metrics import profile

        return profile(self.model, self._inputs)

    def __str__(self) -> str:
        proof = "not verified" if self.max_error is None else f"equal to the zeroed network within {self.max_error:.1e}"
        return f"{self.plan}\n{proof}"


def prune(
    model: nn.Module,
    inputs: Any,
    *,
    ratios: Ratios = None,
    target_macs: float | None = None,
    target_params: float | None = None,
    importance: str = "l1",
    protect: Sequence[str] = (),
    round_to: int = 1,
    min_channels: int = 1,
    verify: bool = True,
    remove_dead: bool = True,
    seed: int = 0,
) -> Pruned:
    """Removes channels from any network.

    Args:
        model: the network; it is left as it was.
        inputs: what it is called with: a tuple (by position), a dict (by name) or one tensor.
        ratios: share of the channels removed, one for all, or {path of a layer, parent or pattern: share}. None with a
            target: all groups alike.
        target_macs: share of the multiply-accumulates to keep, in (0, 1].
        target_params: share of the parameters to keep, in (0, 1]. With both targets neither is exceeded.
        importance: registered criterion that chooses the channels: "l1", "l2", "taylor", "random".
        protect: paths (layer, parent or pattern) of layers whose output channels all stay.
        round_to: widths become multiples of this.
        min_channels: every group keeps at least so many.
        verify: compare with the zeroed original on fresh inputs. Without it nothing is proven.
        remove_dead: replace modules whose result nothing reads.
        seed: of the random inputs of the check, and of a random importance.

    Returns:
        The network and its history. Groups that turn out not to fit are kept whole, with the reason in `plan.frozen`.

    Raises:
        PruneError: nothing can be pruned, a path or number is wrong, a target is out of reach, or the result is not
            provably right.
    """
    facts = trace(model, inputs)
    dead = tuple(facts.dead) if remove_dead else ()
    groups = [g for g in find_groups(facts, protect) if not (remove_dead and facts.is_dead(g.producers))]
    for pattern in protect:
        if not any(matches(path, pattern) for group in groups for path in group.producers):
            raise unmatched(pattern, groups, "protect")
    limits, generator = Widening(round_to, min_channels), torch.Generator()
    notes: tuple[str, ...] = ()
    while True:
        free = [g for g in groups if g.frozen is None]
        cost = Cost.of(facts, free, without=dead)
        plan = make_plan(
            groups, cost, ratios=ratios, target_params=target_params, target_macs=target_macs, limits=limits, dead=dead
        )
        generator.manual_seed(seed)
        cuts = choose(model, free, plan.kept, importance, generator, without=facts.dead_parameters)
        if not cuts and not dead:
            raise _nothing(groups, facts)
        verdict = check(model, facts, cuts, dead, inputs, seed) if verify else None
        if verdict is None or verdict.passed:
            break
        kept = culprits(model, facts, cuts, dead, inputs, seed)
        if not kept:
            raise refused(verdict, [c.group.name for c in cuts])
        groups = [replace(g, frozen=kept.get(g.name, g.frozen)) for g in groups]
        dead = tuple(path for path in dead if path not in kept)
        notes += tuple(f"{name}: kept whole after all, {reason}" for name, reason in kept.items())
    return Pruned(
        model=pruned_copy(model, facts, cuts, dead),
        max_error=None if verdict is None else verdict.error,
        groups=groups,
        plan=replace(plan, notes=(*plan.notes, *notes)),
        removed=removed_outputs(cuts),
        dead=dead,
        trace=facts,
        _original=model,
        _inputs=inputs,
    )


def _nothing(groups: Sequence[Group], facts: Trace) -> PruneError:
    """The error for a pruning that would do nothing: every layer with its reason."""
    if not groups:
        return PruneError("the network has no convolution or linear layer whose channels could go")
    free = [g.name for g in groups if g.frozen is None]
    if free:
        return PruneError("nothing would be removed", where=", ".join(free[:5]), hint="a larger ratio")
    said = "; ".join(f"{g.name}: {g.frozen}" for g in groups[:8])
    said += f"; and {len(groups) - 8} more" if len(groups) > 8 else ""
    unknown = "; ".join(str(u) for u in facts.unknown_ops[:3])
    hint = f"a rule for {unknown}" if unknown else None
    return PruneError(f"no channel can be removed: {said}", hint=hint)
