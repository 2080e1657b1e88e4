"""The public verb: network + what to remove -> smaller network, its plan, and the proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from compressvqa.errors import PruneError, TargetError
from compressvqa.pruning.cutting.choice import Cut, removed_outputs
from compressvqa.pruning.cutting.importance import Importance
from compressvqa.pruning.cutting.verification import gone_roots
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace, trace
from compressvqa.pruning.search import Search
from compressvqa.pruning.settings import Settings, settings_of
from compressvqa.pruning.widths.plan import PruningPlan, Ratios
from compressvqa.pruning.widths.runtimes import Runtime

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
    target_latency: float | None = None,
    runtime: Runtime = "eager",
    importance: str | Importance = "l1",
    scope: str = "local",
    max_ratio: float | None = None,
    attention: str = "auto",
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
        ratios: share of the channels removed, one for all, or {path of a layer, parent or pattern: share}; the longest
            path that fits a layer counts. Where tied layers ask for different shares, the smallest is used and
            `plan.notes` says so. None with a target: all groups alike. "zeros": just the channels whose parameters are
            all exactly zero, as a group sparsifier leaves them; the result then equals the network given.
        target_macs: share of the multiply-accumulates to keep, in (0, 1]; not exceeded, and met within 2 %.
        target_params: share of the parameters to keep, likewise. With both, groups that weigh more in one of them give
            more, so that both are met where the widths allow; `plan.notes` says which one binds where they do not.
        target_latency: share of the latency to keep, in (0, 1], met within 10 % by measuring on this machine, with the
            inputs given and with torch's threads as they are set; other targets are not exceeded. See `plan.latency`.
        runtime: what the latency is measured on: "eager", "compile", "onnxruntime", or a function ``(model, inputs) ->
            call``, where ``call()`` runs the network once and is timed.
        importance: registered criterion that chooses the channels: "l1", "l2", "lamp", "fpgm", "bn_scale", "taylor" (of
            the gradients that the parameters hold), "activation" (on `inputs`; on other data with
            ``Importance("activation", batches)``), "random".
        scope: "local": every group loses its share. "global": one ranking of all channels, whose scores are made
            comparable by dividing by the group's mean, unless the criterion's are comparable as they are ("lamp");
            `ratios`, then one number, is the share of all channels, and a target cuts the ranking where it is met.
        max_ratio: no group loses a larger share than this, in [0, 1]; by default 1 with scope "local" and 0.9 with
            "global", so that no layer collapses.
        attention: what may go of attention: "keep" nothing, "heads" whole heads, "width" the same channels of every
            head; the integers in the forward that go with them are set anew. "auto" keeps heads and their width, and
            lets heads go where the target can't be reached otherwise; `plan.notes` says so.
        protect: paths (layer, parent or pattern) of layers whose output channels all stay.
        round_to: layers become the nearest multiple of this wide, never zero; with a target, the nearest at which it is
            met. A layer stays whole where that is nearer or where it is narrower than one multiple; `plan.notes` lists
            layers that are no multiple wide.
        min_channels: every group keeps at least so many.
        verify: compare with the zeroed original on fresh inputs. Without it nothing is proven.
        remove_dead: replace modules whose result nothing reads.
        seed: of the random inputs of the check, and of a random importance.

    Returns:
        The network and its history. Groups that turn out not to fit are kept whole, with the reason in `plan.frozen`.

    Raises:
        PruneError: nothing can be pruned, a path or number is wrong, a target is out of reach, or the result is not
            provably right.
        MissingExtraError: the runtime is not installed.
    """
    settings = settings_of(
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
        remove_dead=remove_dead,
        seed=seed,
    )
    return execute(model, inputs, trace(model, inputs), settings)


def execute(
    model: nn.Module,
    inputs: Any,
    facts: Trace,
    settings: Settings,
    *,
    baseline: nn.Module | None = None,
    may_be_idle: bool = False,
) -> Pruned:
    """`prune` of a network that was traced already.

    Args:
        facts: its trace, with whatever choice for attention.
        baseline: the network whose latency the target is a share of; by default the one given.
        may_be_idle: whether removing nothing is no error.
    """
    choice = "keep" if settings.attention == "auto" else settings.attention
    facts = facts if facts.dependencies.attention == choice else facts.with_attention(choice)
    try:
        return _execute(model, inputs, facts, settings, baseline, may_be_idle)
    except TargetError:
        if settings.attention != "auto" or not facts.dependencies.attends:
            raise
    pruned = _execute(model, inputs, facts.with_attention("heads"), settings, baseline, may_be_idle)
    note = "attention heads go as well, since the target can't be reached otherwise"
    return replace(pruned, plan=replace(pruned.plan, notes=(note, *pruned.plan.notes)))


def _execute(
    model: nn.Module, inputs: Any, facts: Trace, settings: Settings, baseline: nn.Module | None, may_be_idle: bool
) -> Pruned:
    search = Search(model, inputs, facts, settings)
    if settings.target_latency is None:
        trial = search.meet_size(settings.target_macs)
    else:
        trial = search.meet_latency(settings.target_latency, baseline or model)
    if not trial.cuts and not search.dead and not may_be_idle:
        raise _nothing(search.groups, facts)
    notes = (
        *trial.plan.notes,
        *search.scores.notes(),
        *search.notes,
        *_over_the_kept(facts, trial.cuts),
        *_one_way(facts),
    )
    return Pruned(
        model=trial.model,
        max_error=None if trial.verdict is None else trial.verdict.error,
        groups=search.groups,
        plan=replace(trial.plan, notes=notes),
        removed=removed_outputs(trial.cuts),
        dead=search.dead,
        trace=facts,
        _original=model,
        _inputs=inputs,
    )


def _over_the_kept(facts: Trace, cuts: Sequence[Cut]) -> list[str]:
    """Where a normalisation that is written by hand counts fewer channels than before."""
    gone = gone_roots(facts, cuts)
    places = {
        s.place
        for s in facts.dependencies.statistics
        if s.place and gone[np.maximum(facts.dependencies.classes.find(s.labels), 0)].any()
    }
    shown = ", ".join(sorted(places)[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the normalisation at {shown} is taken over the channels kept, as a layer norm is"] if places else []


def _one_way(facts: Trace) -> list[str]:
    """What the check can't see: the network decides by its numbers, and only the way that it took was run."""
    places = sorted({node.place for node in facts.graph.decisions()})
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the forward decides by its numbers at {shown}: only the way that it took was checked"] if places else []


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
    return TargetError(f"no channel can be removed: {said}", hint=hint)
