"""Steers lambda so that a wanted share of the weights is nonzero at the end of a number of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressvqa.errors import RecipeError, TrainingError

# How fast the correction learns from the error of the last step, and how far it may go (a factor e^3 is 20).
CORRECTION_RATE, CORRECTION_LIMIT = 0.1, 3.0
# While the weights recover, some small ones still change their sign, and the Orthant phase sets those to zero.
HOLD_SLACK = 1.1


@dataclass(frozen=True)
class Landing:
    """What the last, exact step did. Densities are shares of nonzero weights, over the steered parameters."""

    target: float
    before: float
    after: float
    zeroed: int
    largest: float
    """Largest magnitude that was set to zero."""


@dataclass
class _Tensor:
    """One regularised parameter: its place in the optimiser, its factor of lambda, and how it is sampled."""

    group: int
    position: int
    param: Tensor
    scale: float
    stride: int


class DensityController:
    """Sets lambda after every step, from a schedule of densities and a look at the weights.

    Density is the share of nonzero weights over the regularised parameters (groups whose lambda is positive) that get
    gradients. A parameter that the loss does not reach is never changed by an optimiser, so it can't be steered: it is
    left out and named in `unreached`.

    The wanted density falls geometrically, by the same factor each step, from 1 to a tenth above `target` at the share
    ``1 - hold`` of `total_steps`, and to `target` in the rest. The law of control has three parts. A forecast: the
    weights that have to go within the next `horizon` steps are the smallest ones, so a quantile of the magnitudes,
    divided by the horizon, is the shrinkage ``lr * lambda`` that removes them in time if gradients do nothing. A
    correction: a factor that grows while the density lags behind the schedule and falls while it leads
    (multiplicative-integral control); it is bounded, and it rests while the third part is at work (no wind-up). A
    limit: the shrinkage changes by at most `max_change` from one step to the next. Because it is the shrinkage that is
    steered, lambda follows the learning rate's schedule. A sparsifier that returns from zeros (OBProx-SG with a finite
    `orthant_steps`) is steered less closely than one that does not, since in its Prox phase zeros may come back.

    Call in this order: ``optimizer.step(); scheduler.step(); controller.step()``, and `finish` at the end.

    Args:
        optimizer: any registered sparsifier. lambda of its regularised groups is overwritten, their ratios are kept.
        target: density to reach, in (0, 1).
        total_steps: steps of the optimiser until then.
        hold: share of the steps, at the end, in which hardly any shrinkage is left and the surviving weights recover.
        horizon: steps that the forecast looks ahead.
        floor: no tensor is shrunk below this density (0: no floor), so no layer is wiped. It needs a sparsifier with
            ``lam_scales`` in its groups, as `OBProxSG` has.
        max_change: largest factor by which the shrinkage changes in one step.
        samples: magnitudes looked at in each tensor, at most.

    Raises:
        RecipeError: a setting is out of range, or no group is regularised.

    >>> from compressvqa.sparsity import OBProxSG
    >>> weight = torch.nn.Parameter(torch.linspace(-1, 1, 1000))
    >>> optimizer = OBProxSG([weight], lr=0.01, lam=1.0, prox_steps=50)
    >>> controller = DensityController(optimizer, target=0.2, total_steps=50)
    >>> for _ in range(50):
    ...     weight.grad = torch.zeros_like(weight); optimizer.step(); _ = controller.step()
    >>> round(controller.finish().after, 3)
    0.2
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        target: float,
        *,
        total_steps: int,
        hold: float = 0.15,
        horizon: int = 5,
        floor: float = 0.01,
        max_change: float = 1.5,
        samples: int = 4096,
    ) -> None:
        if not 0 < target < 1:
            raise RecipeError(f"the target density is {target!r} and must lie between 0 and 1", where="density")
        if total_steps < 1 or horizon < 1 or samples < 1 or not 0 <= hold < 1 or max_change <= 1:
            raise RecipeError("total_steps, horizon, samples >= 1, hold in [0, 1), max_change > 1", where="density")
        if not 0 <= floor < target:
            raise RecipeError(f"floor is {floor!r} and must be below the target {target}", where="density")
        self.optimizer, self.target, self.total_steps = optimizer, target, total_steps
        self.hold, self.horizon, self.floor, self.max_change = hold, horizon, floor, max_change
        groups = [index for index, group in enumerate(optimizer.param_groups) if group["lam"] > 0]
        if not groups:
            raise RecipeError("no parameter group has a positive lam", where="density", hint="regularised_groups")
        first = optimizer.param_groups[groups[0]]
        self._ratios = {index: optimizer.param_groups[index]["lam"] / first["lam"] for index in groups}
        self._tensors = [
            _Tensor(index, position, param, scale, _stride(param.numel(), samples))
            for index in groups
            for position, (param, scale) in enumerate(_scales(optimizer.param_groups[index]))
        ]
        if floor > 0 and any("lam_scales" not in optimizer.param_groups[index] for index in groups):
            raise RecipeError(f"{type(optimizer).__name__} has no lam_scales", where="density", hint="floor=0")
        self.steps = 0
        self._correction = 0.0  # of the logarithm of the shrinkage
        self._shrinkage = float(first["lr"]) * float(first["lam"])
        self._reached = [False] * len(self._tensors)
        self._density = _density([t.param for t in self._tensors])
        forecast = self._forecast(self._tensors)
        if forecast > 0:
            self._set(forecast, self._tensors)

    @property
    def lam(self) -> float:
        """Lambda of the first regularised group."""
        return float(self.optimizer.param_groups[self._tensors[0].group]["lam"])

    @property
    def density(self) -> float:
        """Share of nonzero weights in the steered parameters after the last step."""
        return self._density

    @property
    def unreached(self) -> list[str]:
        """Names (or ``group.position`` where the optimiser knows none) of regularised parameters without gradients."""
        return [self._name(t) for t, reached in zip(self._tensors, self._reached, strict=True) if not reached]

    def densities(self) -> dict[str, float]:
        """Density of each steered parameter, by name."""
        return {self._name(t): _density([t.param]) for t in self._steered()}

    def wanted(self, step: int) -> float:
        """Density that the schedule asks for after `step` steps."""
        bend = self.total_steps * (1 - self.hold)
        before = min(1.0, step / bend)
        after = min(1.0, max(0.0, step - bend) / (self.total_steps - bend)) if self.hold > 0 else before
        slack = HOLD_SLACK if self.hold > 0 else 1.0
        return float((self.target * slack) ** before * slack**-after)

    def step(self) -> float:
        """Measures the density, sets lambda for the next step, returns the density.

        Raises:
            TrainingError: no regularised parameter got a gradient.
        """
        self.steps += 1
        for index, tensor in enumerate(self._tensors):
            self._reached[index] |= tensor.param.grad is not None or bool(self.optimizer.state.get(tensor.param))
        steered = self._steered()
        self._density = _density([t.param for t in steered])
        forecast = self._forecast(steered)
        error = math.log(max(self._density, 1e-9) / self.wanted(self.steps))
        lowest, highest = self._shrinkage / self.max_change, self._shrinkage * self.max_change
        asked = forecast * math.exp(self._correction)
        if lowest < asked < highest:
            self._correction += CORRECTION_RATE * max(-0.5, min(0.5, error))
            self._correction = max(-CORRECTION_LIMIT, min(CORRECTION_LIMIT, self._correction))
        self._set(max(lowest, min(highest, asked)), steered)
        return self._density

    @torch.no_grad()
    def finish(self) -> Landing:
        """Sets the smallest magnitudes to zero until at most the target's share is left: the last few per cent.

        Magnitudes of a tensor are compared after division by its factor of lambda; no tensor goes below its floor.
        A density that is already below the target stays, since zeros can't be brought back. Report `Landing` with
        the figures: it says how much of the sparsity was cut here and not found by the optimiser.
        """
        steered = self._steered()
        before = self._density = _density([t.param for t in steered])
        total = sum(t.param.numel() for t in steered)
        surplus = round(before * total) - int(self.target * total)
        if surplus <= 0:
            return Landing(self.target, before, before, 0, 0.0)
        # Nonzero magnitudes that their tensor's floor does not protect; +inf sorts the others behind them.
        candidates = torch.cat([self._removable(t) for t in steered])
        surplus = min(surplus, int(torch.isfinite(candidates).sum()))
        chosen = torch.zeros_like(candidates, dtype=torch.bool)
        chosen[candidates.argsort(stable=True)[:surplus]] = True
        largest = 0.0
        for t, cut in zip(steered, torch.split(chosen, [t.param.numel() for t in steered]), strict=True):
            mask = cut.view_as(t.param)
            if mask.any():
                largest = max(largest, float(t.param[mask].abs().max()))
                t.param.masked_fill_(mask, 0.0)
        self._density = _density([t.param for t in steered])
        return Landing(self.target, before, self._density, surplus, largest)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs besides the optimiser's own state."""
        scales = {index: self.optimizer.param_groups[index].get("lam_scales") for index in self._ratios}
        return {
            "steps": self.steps,
            "correction": self._correction,
            "shrinkage": self._shrinkage,
            "reached": list(self._reached),
            "density": self._density,
            "ratios": dict(self._ratios),
            "scales": [t.scale for t in self._tensors],
            "lam": {index: self.optimizer.param_groups[index]["lam"] for index in self._ratios},
            "lam_scales": {index: None if s is None else list(s) for index, s in scales.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state` was taken. The optimiser's own state is loaded by itself.

        Raises:
            RecipeError: the state belongs to an optimiser with other parameters.
        """
        if len(state["reached"]) != len(self._tensors) or set(state["lam"]) != set(self._ratios):
            raise RecipeError("the saved state is of other parameters", where="density")
        self.steps, self._correction, self._shrinkage = state["steps"], state["correction"], state["shrinkage"]
        self._reached, self._density = list(state["reached"]), state["density"]
        self._ratios = dict(state["ratios"])
        # The optimiser may have been loaded before, with the floor's factors in its groups: take the true ones.
        for tensor, scale in zip(self._tensors, state["scales"], strict=True):
            tensor.scale = scale
        for index, lam in state["lam"].items():
            self.optimizer.param_groups[index]["lam"] = lam
            if state["lam_scales"][index] is not None:
                self.optimizer.param_groups[index]["lam_scales"] = list(state["lam_scales"][index])

    # --- the parts of the law -----------------------------------------------------------------------------------

    def _steered(self) -> list[_Tensor]:
        if self.steps == 0:
            return self._tensors
        steered = [t for t, reached in zip(self._tensors, self._reached, strict=True) if reached]
        if not steered:
            raise TrainingError("no regularised parameter got a gradient", where="density")
        return steered

    def _speed(self, t: _Tensor) -> float:
        """Shrinkage of this tensor in units of the first group's: its own step size, lambda ratio and factor."""
        groups = self.optimizer.param_groups
        first = float(groups[self._tensors[0].group]["lr"])
        ratio = float(groups[t.group]["lr"]) / first if first > 0 else 1.0
        return float(ratio * self._ratios[t.group] * t.scale)

    def _forecast(self, steered: list[_Tensor]) -> float:
        """Shrinkage a step that leaves the density wanted `horizon` steps from now, if gradients do nothing."""
        moving = [(t, speed) for t in steered if (speed := self._speed(t)) > 0]
        samples = [self._sample(t).float() / speed for t, speed in moving]
        if not samples:
            return 0.0
        # Each magnitude stands for as many weights as its tensor has for each sample.
        weights = [torch.full_like(s, t.param.numel() / s.numel()) for s, (t, _) in zip(samples, moving, strict=True)]
        magnitudes, order = torch.cat(samples).sort()
        passed = torch.cat(weights)[order].cumsum(0)
        share = 1 - self.wanted(self.steps + self.horizon)
        place = torch.searchsorted(passed, share * passed[-1]).clamp_max(len(magnitudes) - 1)
        return float(magnitudes[place]) / self.horizon

    def _sample(self, t: _Tensor) -> Tensor:
        """Magnitudes at every `stride`-th place; the offset moves on each step, so that in time all are seen."""
        return t.param.detach().flatten()[self.steps % t.stride :: t.stride].abs()

    def _set(self, shrinkage: float, steered: list[_Tensor]) -> None:
        groups = self.optimizer.param_groups
        first = float(groups[self._tensors[0].group]["lr"])
        self._shrinkage = shrinkage
        if first > 0:  # a warm-up may start at 0, where no lambda shrinks
            for index, ratio in self._ratios.items():
                groups[index]["lam"] = shrinkage / first * ratio
        if self.floor == 0:
            return
        scales = {index: [t.scale for t in self._tensors if t.group == index] for index in self._ratios}
        # The threshold of a tensor may not pass the magnitude above which its floor's share of weights lies.
        speeds = [self._speed(t) for t in steered]
        limits = torch.stack([_quantile(self._sample(t), 1 - self.floor) for t in steered]).tolist()
        for t, speed, limit in zip(steered, speeds, limits, strict=True):
            threshold = shrinkage * speed
            if threshold > limit:
                scales[t.group][t.position] *= limit / threshold
        for index, factors in scales.items():
            groups[index]["lam_scales"] = factors

    def _removable(self, t: _Tensor) -> Tensor:
        """Magnitudes in units of the tensor's factor, flat; infinite where the weight is zero or the floor keeps it."""
        size = t.param.detach().abs().flatten().float()
        magnitudes = size / t.scale if t.scale > 0 else torch.full_like(size, math.inf)
        magnitudes[size == 0] = math.inf
        keep = math.ceil(self.floor * size.numel())
        if keep > 0:
            magnitudes[size.topk(keep).indices] = math.inf
        return magnitudes

    def _name(self, t: _Tensor) -> str:
        names = self.optimizer.param_groups[t.group].get("param_names")
        return names[t.position] if names else f"{t.group}.{t.position}"


def _scales(group: dict[str, Any]) -> list[tuple[Tensor, float]]:
    scales = group.get("lam_scales") or [1.0] * len(group["params"])
    return list(zip(group["params"], scales, strict=True))


def _density(tensors: list[Tensor]) -> float:
    # One transfer from the accelerator for all tensors.
    nonzero = torch.stack([torch.count_nonzero(tensor) for tensor in tensors]).sum()
    return int(nonzero) / sum(tensor.numel() for tensor in tensors)


def _stride(elements: int, samples: int) -> int:
    """Smallest step that takes at most `samples`, odd and no multiple of 3: kernels of 3x3 must not be in step."""
    stride = max(1, math.ceil(elements / samples))
    while stride > 1 and (stride % 2 == 0 or stride % 3 == 0):
        stride += 1
    return stride


def _quantile(magnitudes: Tensor, share: float) -> Tensor:
    place = min(magnitudes.numel(), max(1, math.ceil(share * magnitudes.numel())))
    return magnitudes.kthvalue(place).values.float()
