"""What a pruning gives: the smaller network, its plan, and the proof."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from compressvqa.pruning.cutting.proof.power import Power
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.widths.plan import PruningPlan

if TYPE_CHECKING:
    from compressvqa.cost import Complexity


@dataclass(frozen=True)
class Pruned:
    """A pruned network and how it came about.

    Args:
        model: the smaller network; the one given is left as it was.
        max_error: largest difference from the original with the cut channels zeroed, relative to how much the output
            moves between inputs, or to its largest value where that is less; over the inputs given and fresh ones, with
            true and with shaken weights; None without verification.
        power: what the same comparison notices of a wrong cut of each group; empty without verification.
        groups: the channel groups of the original.
        plan: what was cut; `print(pruned.plan)`.
        removed: output channels that went, by path of the layer that made them.
        dead: paths of modules that were removed because nothing read their result.
        trace: what was found out about the original.
    """

    model: nn.Module
    max_error: float | None
    power: Power
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
        from compressvqa.cost import profile

        return profile(self._original, self._inputs)

    @cached_property
    def complexity_after(self) -> Complexity:
        """Parameters and multiply-accumulates of the pruned network."""
        from compressvqa.cost import profile

        return profile(self.model, self._inputs)

    def noting(self, *notes: str) -> Pruned:
        """The same, with something more to say, before what the plan says already."""
        return replace(self, plan=replace(self.plan, notes=(*notes, *self.plan.notes))) if notes else self

    def __str__(self) -> str:
        proof = "not verified" if self.max_error is None else f"equal to the zeroed network within {self.max_error:.1e}"
        return "\n".join(str(part) for part in (self.plan, proof, self.power) if str(part))

    @property
    def unobservable(self) -> tuple[str, ...]:
        """Names of groups that were cut although a wrong cut of them would go unnoticed: none by default."""
        return tuple(self.power.unobservable)
