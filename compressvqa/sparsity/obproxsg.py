"""OBProx-SG: a stochastic optimiser whose weights become exactly zero under an L1 penalty."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from compressvqa.errors import RecipeError
from compressvqa.registry import sparsifiers
from compressvqa.sparsity.base import BASES, Sparsifier
from compressvqa.sparsity.shrink import orthant_step_, soft_threshold_
from compressvqa.torch_private import foreach

# A base step and a shrink pass over the weights about ten times; a list of this many elements stays in a core's cache.
ELEMENTS_AT_ONCE = {"cpu": 2**17}


@sparsifiers.register("obprox-sg", base=torch.optim.SGD, example={"prox_steps": 3, "orthant_steps": 4})
class OBProxSG(Sparsifier):
    r"""Orthant Based Proximal Stochastic Gradient (Chen et al., ECML-PKDD 2020, arXiv 2004.03639).

    Minimises :math:`f(x) + \lambda \|x\|_1` in two phases, which alternate: `prox_steps` (:math:`N_P`) steps of
    Prox-SG, then `orthant_steps` (:math:`N_O`) Orthant steps. With step size a and direction d:

    - Prox-SG: :math:`u = x - a d`, then :math:`x \leftarrow sign(u) \max(|u| - a \lambda, 0)`. Finds the support.
    - Orthant, with :math:`z = sign(x)`: :math:`h = x - a (d + \lambda z)`, kept where :math:`h z > eps`, else 0. A zero
      stays zero, so sparsity can only grow.

    ``base="sgd"`` is the paper: d is the gradient, no momentum. ``base="adamw"`` takes AdamW's direction
    :math:`d = \hat m / (\sqrt{\hat v} + 10^{-8})` and leaves the threshold at :math:`a \lambda`, decoupled as AdamW's
    weight decay is. The exact proximal step in AdamW's own metric (ProxGen, Yun et al., NeurIPS 2021) would divide the
    threshold by :math:`\sqrt{\hat v} + 10^{-8}` too; a weight with hardly a gradient, as many have in the first steps,
    would then be wiped at once, so it is not offered. With this base lambda has the unit of d, which is about 1: below
    1 a consistent gradient holds a weight against the shrinkage, far above 1 nothing does.

    Args:
        params: parameters, or parameter groups (see `regularised_groups`). A group may set its own value of every
            setting, among them `lam`; ``lam=0`` leaves the group to the base step alone, whatever the phase. A group
            may also hold ``lam_scales``, one factor of lambda for each of its parameters.
        lr: step size a, >= 0.
        lam: lambda >= 0. No default that suits every network exists; `DensityController` finds it for a density.
        prox_steps: Prox-SG steps in a period, >= 0. The paper counts epochs; here they are optimiser steps.
        orthant_steps: Orthant steps in a period; ``math.inf`` (OBProx-SG+) never returns to Prox-SG.
        eps: a weight closer to zero than this is cut in the Orthant phase, >= 0.
        base: "sgd" or "adamw".
        betas: AdamW's decay rates of the moments.
        weight_decay: decoupled, ``x *= 1 - a * weight_decay`` before the step; for "sgd" that is torch's L2 too.
        foreach: work on lists of tensors (faster) or on one tensor after the other (least memory).

    The count of steps (``steps`` in each group) and the moments are in `state_dict`, so that a resumed run continues
    bit for bit. A parameter without a gradient is left as it is, as in torch.

    Raises:
        RecipeError: a setting is out of range, or a parameter is complex; at a step: a gradient is sparse.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -0.05]))
    >>> optimizer = OBProxSG([weight], lr=0.1, lam=1.0, prox_steps=10)
    >>> weight.grad = torch.zeros(2); optimizer.step(); weight.detach()
    tensor([0.9000, 0.0000])
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        lam: float,
        prox_steps: int,
        orthant_steps: float = math.inf,
        eps: float = 0.0,
        base: str = "sgd",
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "lam": lam,
            "lam_scales": None,
            "prox_steps": prox_steps,
            "orthant_steps": orthant_steps,
            "eps": eps,
            "base": base,
            "betas": tuple(betas),
            "weight_decay": weight_decay,
            "foreach": foreach,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, after a look at its settings; a group added later starts at its own step 0."""
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        scales = group["lam_scales"]
        if scales is not None and (len(scales) != len(group["params"]) or not all(scale >= 0 for scale in scales)):
            raise RecipeError(f"lam_scales must hold {len(group['params'])} factors >= 0", where="OBProxSG")
        if any(param.is_complex() for param in group["params"]):
            raise RecipeError("a complex parameter has no orthant", where="OBProxSG")

    @property
    def phase(self) -> str:
        """ "prox" or "orthant": the phase of the next step (of the first regularised group)."""
        regularised = [group for group in self.param_groups if group["lam"] > 0] or self.param_groups
        return "prox" if _in_prox_phase(regularised[0]) else "orthant"

    def update(self) -> None:
        """One step of the phase that is due."""
        for group in self.param_groups:
            settings = {**group, "lr": float(group["lr"])}  # a scheduler may have left a tensor there
            for params, grads, scales in self._batches(group):
                self._update(params, grads, scales, settings)
            group["steps"] += 1

    def _batches(self, group: dict[str, Any]) -> Iterator[tuple[list[Tensor], list[Tensor], list[float]]]:
        """Lists of (parameters, gradients, factors of lambda), short enough to be worked on in cache."""
        params: list[Tensor] = []
        grads: list[Tensor] = []
        scales: list[float] = []
        elements = 0
        for param, scale in zip(group["params"], group["lam_scales"] or repeat(1.0), strict=False):
            grad = param.grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise RecipeError("a sparse gradient is not supported", where="OBProxSG", hint="sparse=False")
            most = ELEMENTS_AT_ONCE.get(param.device.type, math.inf) if group["foreach"] else 0
            if params and elements + param.numel() > most:
                yield params, grads, scales
                params, grads, scales, elements = [], [], [], 0
            params.append(param)
            grads.append(grad)
            scales.append(scale)
            elements += param.numel()
        if params:
            yield params, grads, scales

    def _update(self, params: list[Tensor], grads: list[Tensor], scales: list[float], group: dict[str, Any]) -> None:
        states = [self.state[param] for param in params]
        base_step = BASES[group["base"]]
        thresholds = [group["lr"] * group["lam"] * scale for scale in scales]
        if group["lam"] == 0:
            base_step(params, grads, states, group)
        elif _in_prox_phase(group):
            base_step(params, grads, states, group)
            soft_threshold_(params, thresholds)
        else:
            signs = list(foreach.sign(params))
            base_step(params, grads, states, group)
            orthant_step_(params, signs, thresholds, group["eps"])


def _in_prox_phase(group: dict[str, Any]) -> bool:
    return bool(group["steps"] % (group["prox_steps"] + group["orthant_steps"]) < group["prox_steps"])


def _check(group: dict[str, Any]) -> None:
    for name in ("lr", "lam", "prox_steps", "orthant_steps", "eps", "weight_decay"):
        if not group[name] >= 0:
            raise RecipeError(f"{name} is {group[name]!r} and must be at least 0", where="OBProxSG")
    if not math.isfinite(group["lam"]) or not math.isfinite(group["prox_steps"]):
        raise RecipeError("lam and prox_steps must be finite", where="OBProxSG")
    if group["prox_steps"] + group["orthant_steps"] == 0:
        raise RecipeError("prox_steps and orthant_steps are both 0", where="OBProxSG")
    if group["base"] not in BASES:
        raise RecipeError(f"unknown base step {group['base']!r}", where="OBProxSG", hint=" or ".join(BASES))
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise RecipeError(f"betas {group['betas']} must lie in [0, 1)", where="OBProxSG")
