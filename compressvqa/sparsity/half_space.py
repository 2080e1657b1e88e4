"""HSPG: a stochastic optimiser whose channels become exactly zero by projection to half-spaces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressvqa.errors import RecipeError
from compressvqa.registry import sparsifiers
from compressvqa.sparsity.base import Sparsifier, base_steps_, check_base
from compressvqa.sparsity.channels import Channels


@sparsifiers.register("half-space", base=torch.optim.SGD, example={"warmup_steps": 3})
class HalfSpace(Sparsifier):
    r"""Half-Space Stochastic Projected Gradient (Chen et al., "Only Train Once", NeurIPS 2021, arXiv 2107.07467).

    Minimises :math:`f(x) + \lambda \sum_c \sqrt{n_c} \|x_c\|_2` over channels c with :math:`n_c` elements (the weights
    :math:`\sqrt{n_c}` are Yuan and Lin's, 2006: lambda then has the unit of an L1 norm's). With step size a and
    direction d, the trial point is :math:`u = x - a (d + \lambda \sum_c \sqrt{n_c} x_c / \|x_c\|)`.

    - The first `warmup_steps` take u as it is: sub-gradient steps that find out which channels are redundant.
    - A half-space step then sets channel c to zero where :math:`\langle u_c, x_c \rangle < eps \|x_c\|^2`, that is
      where the step leaves the half-space in which x lies. A zero channel stays zero, so sparsity only grows.

    The paper's groups are disjoint, rows of the layers that make a channel; they are lossless only where activations
    map zero to zero. Ours also hold the columns of the layers that read it, so they overlap: an element is pulled by
    each of its channels, and is zero as soon as one of them is.

    Args:
        params: parameters, or parameter groups. A group may set its own `lam`; with ``lam=0`` its parameters are not
            pulled, yet they are zero where their channel is. If lambda is 0 in all groups, only base steps are taken.
        lr: step size a, >= 0.
        lam: lambda >= 0. `BudgetController` finds it for a size.
        channels: which elements belong together.
        warmup_steps: sub-gradient steps before the first half-space step, >= 0.
        eps: in [0, 1); larger values project more eagerly.
        floor: share of its channels that every group keeps, rounded up, in [0, 1]: the ones of the largest root mean
            square. Above 0 no layer is wiped.
        base: "sgd" (the paper) or "adamw", whose direction is about 1 in size and decoupled from lambda.
        betas: AdamW's decay rates of the moments.
        weight_decay: decoupled, ``x *= 1 - a * weight_decay`` before the step.

    `settled` is set by a controller once enough channels are zero: these are held, and no other is pulled or zeroed.

    Raises:
        RecipeError: a setting is out of range; at a step: a gradient is sparse.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        lam: float,
        channels: Channels,
        warmup_steps: int,
        eps: float = 0.0,
        floor: float = 0.0,
        base: str = "sgd",
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        if not 0 <= eps < 1 or not 0 <= warmup_steps < math.inf or not 0 <= floor <= 1:
            raise RecipeError("eps in [0, 1), floor in [0, 1] and warmup_steps >= 0 are allowed", where="HalfSpace")
        self.channels, self.warmup_steps, self.eps = channels, warmup_steps, eps
        self.least = np.ceil(floor * channels.counts - 1e-9).astype(np.int64)
        self.steps, self.settled = 0, False
        defaults = {"lr": lr, "lam": lam, "base": base, "betas": tuple(betas), "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, after a look at its settings."""
        group = {**self.defaults, **param_group}
        check_base(group, "HalfSpace")
        if not 0 <= group["lam"] < math.inf:
            raise RecipeError(f"lam is {group['lam']!r} and must be finite and at least 0", where="HalfSpace")
        super().add_param_group(param_group)

    def update(self) -> None:
        """One step of the phase that is due."""
        if all(group["lam"] == 0 for group in self.param_groups):
            base_steps_(self)
        else:
            self._step()
        self.steps += 1

    def _step(self) -> None:
        channels, before = self.channels, self.channels.squares()
        kept = before > 0
        if self.settled:
            if base_steps_(self):
                channels.scale_(kept.to(before))
            return
        free = kept & self.may_go(before)
        old = {p: p.detach().clone() for p in channels.counted}
        if not base_steps_(self):
            return
        pull = torch.where(free, (channels.sizes.to(before) / before.clamp_min(_TINY)).sqrt(), 0.0)
        for group in self.param_groups:
            pulled = {p: old[p] for p in group["params"] if p in old and p.grad is not None}
            if group["lam"] > 0 and pulled:
                channels.pull_(pulled, pull * float(group["lr"]) * group["lam"])
        if self.steps >= self.warmup_steps:
            across = channels.sums(lambda p: p * old[p]) < self.eps * before
            channels.scale_((kept & ~(across & free)).to(before))

    def may_go(self, squares: Tensor) -> Tensor:
        """(channels,) whether a channel is beyond the floor of its group, by the squared norms of all."""
        ranks = self.channels.ranks(squares / self.channels.sizes.to(squares).clamp_min(1))
        return ranks >= torch.from_numpy(self.least).to(ranks.device)[self.channels.group.to(ranks.device)]

    def state_dict(self) -> dict[str, Any]:
        """The state of the base step, and how far the phases have come."""
        return {**super().state_dict(), "phase": {"steps": self.steps, "settled": self.settled}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state was taken."""
        super().load_state_dict(state_dict)
        self.steps, self.settled = state_dict["phase"]["steps"], state_dict["phase"]["settled"]


_TINY = torch.finfo(torch.float32).tiny
