"""Progressive zeroing: chosen channels fade to exactly zero on a schedule, without a penalty to tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compressvqa.errors import RecipeError
from compressvqa.registry import sparsifiers
from compressvqa.sparsity.base import Sparsifier, base_steps_, check_base
from compressvqa.sparsity.channels import Channels


@sparsifiers.register(
    "progressive",
    base=torch.optim.SGD,
    example={"widths": {"weight": 3}, "warmup_steps": 2, "prune_steps": 8, "periods": 3},
    idle={"widths": {}},
)
class Progressive(Sparsifier):
    """Fades redundant channels to zero, period by period (HESSO, Chen et al., 2024, arXiv 2409.09085, without CRIC).

    After `warmup_steps` base steps, `prune_steps` are cut into `periods`. At the start of each, every group marks its
    least salient channels, so that after the last period it keeps just its width. During a period of T steps, step t
    (from 0) is a base step after which the marked channels are multiplied by (T - t - 1) / (T - t): they fade in a
    straight line to exactly zero, while the gradient moves what they knew into the others. Zero channels stay zero.

    Saliency is the mean of two shares, each relative to the group's mean: the root mean square of a channel's elements,
    and ``sqrt(sum over steps of (x . grad)^2)``, the first-order change of the loss without it (Molchanov et al., 2019,
    arXiv 1906.10771) over the steps since the last choice.

    Args:
        params: parameters, or parameter groups.
        lr: step size, >= 0.
        channels: which elements belong together.
        widths: channels that each group keeps at the end, by group name (`PruningPlan.kept`); others keep all.
        warmup_steps: base steps before the first choice, >= 0.
        prune_steps: steps from the first choice until all widths are reached, >= 1.
        periods: choices on the way, >= 1; at most `prune_steps` are made.
        base: "sgd" or "adamw".
        betas: AdamW's decay rates of the moments.
        weight_decay: decoupled, ``x *= 1 - lr * weight_decay`` before the step.

    Raises:
        RecipeError: a setting is out of range, or a width is of no group or wider than it; at a step: a gradient is
            sparse.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        channels: Channels,
        widths: Mapping[str, int],
        warmup_steps: int,
        prune_steps: int,
        periods: int = 10,
        base: str = "sgd",
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        if warmup_steps < 0 or prune_steps < 1 or periods < 1:
            raise RecipeError("warmup_steps >= 0, prune_steps and periods >= 1", where="Progressive")
        self.channels, self.warmup_steps, self.prune_steps = channels, warmup_steps, prune_steps
        self.periods = min(periods, prune_steps)
        self.surplus = _surplus(channels, widths)
        self.steps = 0
        # The period in which a channel fades, or -1.
        self.marked = torch.full((len(channels),), -1)
        self._change = torch.zeros(len(channels), dtype=torch.float64)
        super().__init__(params, {"lr": lr, "base": base, "betas": tuple(betas), "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, after a look at its settings."""
        check_base({**self.defaults, **param_group}, "Progressive")
        super().add_param_group(param_group)

    def update(self) -> None:
        """One base step, then the fading that is due."""
        period, left = self._period()
        if period < self.periods and int(self.surplus.sum()):
            self._watch()
            if period >= 0 and self.steps == self._start(period):
                self._choose(period)
        if base_steps_(self) and bool((self.marked >= 0).any()):
            fading = torch.where(self.marked == period, (left - 1) / left, 0.0)
            self.channels.scale_(torch.where(self.marked < 0, 1.0, fading).to(self.channels.params[0].device))
        self.steps += 1

    def _start(self, period: int) -> int:
        return self.warmup_steps + period * self.prune_steps // self.periods

    def _period(self) -> tuple[int, int]:
        """The running period, -1 before the first and `periods` after the last; the steps left in it, with this one."""
        if self.steps < self.warmup_steps:
            return -1, 1
        for period in range(self.periods):
            if self.steps < self._start(period + 1):
                return period, self._start(period + 1) - self.steps
        return self.periods, 1

    def _watch(self) -> None:
        """Adds what this step's gradients say of every channel."""
        change = self.channels.sums(lambda p: torch.zeros_like(p) if p.grad is None else p * p.grad)
        self._change += change.double().square().cpu()

    def _choose(self, period: int) -> None:
        channels = self.channels
        size, change = channels.rms().double().cpu(), self._change.sqrt()
        saliency = sum(s / channels.means(s).clamp_min(1e-300) for s in (size, change))
        assert isinstance(saliency, Tensor)
        goal = self.surplus * (period + 1) // self.periods
        # Channels marked before come first by falling score of their negative, so the goal counts them in.
        order = channels.ranks(torch.where(self.marked >= 0, torch.inf, -saliency))
        self.marked[(order < goal[channels.group]) & (self.marked < 0)] = period
        self._change.zero_()

    def state_dict(self) -> dict[str, Any]:
        """The state of the base step, which channels are fading, and what was seen of the others."""
        phase = {"steps": self.steps, "marked": self.marked.clone(), "change": self._change.clone()}
        return {**super().state_dict(), "phase": phase}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state was taken."""
        super().load_state_dict(state_dict)
        phase = state_dict["phase"]
        self.steps, self.marked, self._change = phase["steps"], phase["marked"].clone(), phase["change"].clone()


def _surplus(channels: Channels, widths: Mapping[str, int]) -> Tensor:
    """(groups,) channels that each group loses."""
    known = {group.name: group.channels for group in channels.groups}
    for name, width in widths.items():
        if name not in known:
            why = channels.left_out.get(name, "no group has this name")
            raise RecipeError(f"the width of {name!r} can't be changed: {why}", where="Progressive")
        if not 0 <= width <= known[name]:
            raise RecipeError(f"{name!r} can't keep {width} of {known[name]} channels", where="Progressive")
    return torch.tensor([count - widths.get(name, count) for name, count in known.items()])
