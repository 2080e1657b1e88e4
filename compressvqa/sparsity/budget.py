"""Steers lambda so that the channels left at the end fit a budget of parameters, MACs or channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressvqa.errors import RecipeError
from compressvqa.pruning.widths.cost import NetworkCost, Widths
from compressvqa.sparsity.channels import Channels
from compressvqa.sparsity.density import CORRECTION_LIMIT, CORRECTION_RATE, HOLD_SLACK
from compressvqa.sparsity.half_space import HalfSpace

Usage = Callable[[Widths], float]


def usage_of(
    cost: NetworkCost,
    channels: Channels,
    *,
    target_params: float | None = None,
    target_macs: float | None = None,
    target_channels: float | None = None,
) -> Usage:
    """What is used of a budget once some channels of each group are gone; 1 is all of it.

    Args:
        cost: with one column per group of `channels`.
        channels: the channels that may go.
        target_params: share of all parameters to keep, in (0, 1].
        target_macs: share of all multiply-accumulates to keep, in (0, 1].
        target_channels: share of these channels to keep, in (0, 1].

    With several targets it is the largest of their shares.
    """
    amounts: list[tuple[Usage, float]] = []
    if target_params is not None:
        amounts.append((cost.params.at, target_params * cost.params_before))
    if target_macs is not None:
        amounts.append((cost.macs.at, target_macs * cost.macs_before))
    if target_channels is not None:
        amounts.append((lambda gone: len(channels) - int(gone.sum()), target_channels * len(channels)))
    if not amounts:
        raise RecipeError("no budget is given", where="sparsifier", hint="target_params, target_macs, target_channels")

    def used(gone: Widths) -> float:
        return max(amount(gone) / most for amount, most in amounts)

    return used


@dataclass(frozen=True)
class BudgetLanding:
    """What the last, exact step did. Shares of the budget are 1 where it is just met."""

    before: float
    after: float
    zeroed: int
    largest: float
    """Largest root mean square of a channel that was set to zero."""


class BudgetController:
    """Sets lambda of a `HalfSpace` after every step, from a schedule of sizes and a look at the channels.

    The wanted size falls geometrically from the whole network's, once the warm-up is over, to a tenth above the budget
    at the share ``1 - hold`` of `total_steps`, and to the budget in the rest. The law is `DensityController`'s, with
    channels in place of weights: a forecast (the root mean square below which channels have to go within `horizon`
    steps, divided by the horizon, is the shrinkage ``lr * lambda`` that removes them if gradients do nothing), a
    bounded correction, and a limit of the change from step to step. When the budget is met, the optimiser is settled:
    zeros are held and the others train freely.

    Call in this order: ``optimizer.step(); scheduler.step(); controller.step()``, and `finish` at the end.

    Args:
        optimizer: its lambda is overwritten in every group where it is positive.
        used: what is used of the budget, see `usage_of`.
        total_steps: steps of the optimiser until the budget must be met.
        hold: share of the steps, at the end, in which hardly any channel is left to go and the others recover.
        horizon: steps that the forecast looks ahead.
        max_change: largest factor by which the shrinkage changes in one step.

    Raises:
        RecipeError: a setting is out of range, or the budget is below what the floor keeps.
    """

    def __init__(
        self,
        optimizer: HalfSpace,
        used: Usage,
        *,
        total_steps: int,
        hold: float = 0.15,
        horizon: int = 5,
        max_change: float = 1.5,
    ) -> None:
        if total_steps < 1 or horizon < 1 or not 0 <= hold < 1 or max_change <= 1:
            raise RecipeError("total_steps, horizon >= 1, hold in [0, 1), max_change > 1", where="budget")
        if not any(group["lam"] > 0 for group in optimizer.param_groups):
            raise RecipeError("no parameter group has a positive lam", where="budget")
        self.optimizer, self.channels, self._used = optimizer, optimizer.channels, used
        self.total_steps, self.hold, self.horizon, self.max_change = total_steps, hold, horizon, max_change
        least = used(self.channels.counts - optimizer.least)
        if least > 1:
            said = f"the channels that the floor keeps use {least:.3g} of it"
            raise RecipeError(f"the budget can't be met: {said}", where="sparsifier", hint="a lower floor")
        self.steps, self._correction = 0, 0.0
        self._whole = used(np.zeros_like(self.channels.counts))
        self._shrinkage = self._forecast()
        self._set()

    @property
    def lam(self) -> float:
        """Lambda of the first group where it is positive."""
        return float(next(group["lam"] for group in self.optimizer.param_groups if group["lam"] > 0))

    @property
    def used(self) -> float:
        """What the channels that are not zero use of the budget."""
        return self._used(self.channels.removed(self.channels.squares() == 0))

    def wanted(self, step: int) -> float:
        """What the schedule allows to be used of the budget after `step` steps."""
        start, bend = self.optimizer.warmup_steps, self.total_steps * (1 - self.hold)
        if step <= start or self._whole <= 1:
            return max(1.0, self._whole)
        before = min(1.0, (step - start) / max(1.0, bend - start))
        after = min(1.0, max(0.0, step - bend) / (self.total_steps - bend)) if self.hold > 0 else before
        slack = min(HOLD_SLACK, self._whole) if self.hold > 0 else 1.0
        return float(self._whole ** (1 - before) * slack ** (before - after))

    def step(self) -> float:
        """Measures the size, sets lambda for the next step, returns the share of the budget that is used."""
        self.steps += 1
        used = self.used
        if used <= 1:
            self.optimizer.settled = True
            return used
        error = math.log(used / self.wanted(self.steps))
        lowest, highest = self._shrinkage / self.max_change, self._shrinkage * self.max_change
        asked = self._forecast() * math.exp(self._correction)
        if lowest < asked < highest:
            self._correction += CORRECTION_RATE * max(-0.5, min(0.5, error))
            self._correction = max(-CORRECTION_LIMIT, min(CORRECTION_LIMIT, self._correction))
        self._shrinkage = max(lowest, min(highest, asked))
        self._set()
        return used

    def finish(self) -> BudgetLanding:
        """Zeroes the channels of the smallest root mean square until the budget is met, and no more.

        A size that is already below the budget stays, since zeros can't be brought back. Report `BudgetLanding` with
        the figures: it says how much was cut here and not found by the optimiser.
        """
        rms, order = self._open()
        zero = rms == 0
        before = self._used(self.channels.removed(zero))
        count = self._needed(zero, order, 1.0)
        gone = zero.clone()
        gone[order[:count]] = True
        self.channels.scale_((~gone).to(rms))
        largest = float(rms[order[count - 1]]) if count else 0.0
        return BudgetLanding(before, self._used(self.channels.removed(gone)), count, largest)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs besides the optimiser's own state."""
        lams = [group["lam"] for group in self.optimizer.param_groups]
        return {"steps": self.steps, "correction": self._correction, "shrinkage": self._shrinkage, "lams": lams}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state` was taken. The optimiser's own state is loaded by itself."""
        self.steps, self._correction, self._shrinkage = state["steps"], state["correction"], state["shrinkage"]
        for group, lam in zip(self.optimizer.param_groups, state["lams"], strict=True):
            group["lam"] = lam

    # --- the parts of the law -----------------------------------------------------------------------------------

    def _open(self) -> tuple[Tensor, Tensor]:
        """Root mean squares, and the channels that may still go, the smallest first."""
        rms = self.channels.rms()
        rising = torch.argsort(rms, stable=True)
        may_go = (rms > 0) & self.optimizer.may_go(self.channels.squares())
        return rms, rising[may_go[rising]]

    def _needed(self, zero: Tensor, order: Tensor, wanted: float) -> int:
        """How many of `order`, from its start, have to go so that no more than `wanted` is used; at most all."""
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            gone = zero.clone()
            gone[order[:middle]] = True
            if self._used(self.channels.removed(gone)) <= wanted:
                high = middle
            else:
                low = middle + 1
        return low

    def _forecast(self) -> float:
        """Shrinkage a step that leaves the size wanted `horizon` steps from now, if gradients do nothing."""
        rms, order = self._open()
        if not len(order):
            return 0.0
        count = self._needed(rms == 0, order, self.wanted(self.steps + self.horizon))
        return float(rms[order[min(count, len(order) - 1)]]) / self.horizon

    def _set(self) -> None:
        groups = [group for group in self.optimizer.param_groups if group["lam"] > 0]
        first = float(groups[0]["lr"])
        if first > 0 and self._shrinkage > 0:  # a warm-up may start at 0, where no lambda shrinks
            for group in groups:
                group["lam"] = self._shrinkage / first
