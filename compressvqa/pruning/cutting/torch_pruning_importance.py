"""torch-pruning's importances on our groups: by name ("torch-pruning/GroupTaylor"), or as an object made by its user.

torch-pruning scores a group of layers with the indices that fall together. A group of ours is made into one: every
slice becomes a layer that holds just what falls with the channels, in the order that torch-pruning would have met them.
Its own class then does the scoring. What torch-pruning does not look at (depthwise convolutions, embeddings, tables,
recurrent layers) is left out here as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.importance import CannotJudgeError, Part
from compressvqa.registry import importances
from compressvqa.torch_private import BATCH_NORM, CONVOLUTION

PREFIX = "torch-pruning/"
_NORMS = {BATCH_NORM: "batchnorm", nn.LayerNorm: "layernorm", nn.GroupNorm: "groupnorm"}
_BY_GRADIENT = ("Taylor", "GroupTaylor")
_UNNAMED = {
    "Hessian": "tp.importance.HessianImportance() after its accumulate_grad",
    "GroupHessian": "tp.importance.GroupHessianImportance() after its accumulate_grad",
    "Activation": "'activation', which looks at the same thing on data of yours",
    "OBDC": "'taylor'; it works with torch-pruning's own pruner only",
}


class TorchPruningImportance:
    """A criterion of ours that asks an importance of torch-pruning.

    Args:
        importance: an instance of one of `torch_pruning.importance`'s classes.
        name: what it is called in messages.

    Raises:
        PruneError: it needs torch-pruning's own pruner.
    """

    def __init__(self, importance: Any, name: str | None = None) -> None:
        self.name = name or f"torch-pruning's {type(importance).__name__}"
        self._importance = importance
        for kind in ("OBDC", "Activation"):
            if any(c.__name__ == f"{kind}Importance" for c in type(importance).__mro__):
                raise PruneError(f"{self.name} looks at hooks on the layers themselves", hint=_UNNAMED[kind])
        reduction = getattr(importance, "group_reduction", "mean")
        if reduction in ("gate", None):  # the last layer of a group, or a score for each: groups are ordered otherwise
            raise PruneError(
                f"{self.name} has group_reduction={reduction!r}", hint="'mean', 'sum', 'max', 'prod' or 'first'"
            )
        self._needs_gradients = any("Taylor" in c.__name__ or "Hessian" in c.__name__ for c in type(importance).__mro__)

    def __call__(
        self,
        weights: list[Tensor],
        gradients: list[Tensor | None],
        *,
        parts: Sequence[Part] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """(channels,) scores; arguments as a criterion of ours gets them.

        Raises:
            CannotJudgeError: nothing in the group is what this importance looks at, or gradients are missing.
        """
        if self._needs_gradients and not any(g is not None for g in gradients):
            raise CannotJudgeError(f"importance {self.name!r} needs gradients, there are none", hint="a backward pass")
        looked_at = gradients if self._needs_gradients else [None] * len(weights)
        with torch.random.fork_rng(devices=[]), self._nothing_gathered():
            group = _group(weights, looked_at, parts, skip=self._needs_gradients)
            if generator is not None:
                torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            scores = self._importance(group) if len(group) else None
        if scores is None or len(scores) != len(weights[0]):
            raise CannotJudgeError(f"importance {self.name!r} looks at no layer of the group", hint="'l1'")
        # Where all weights are zero, or all are alike, its normalisations divide by zero.
        return torch.nan_to_num(scores.float(), nan=0.0, posinf=0.0, neginf=0.0)

    @contextlib.contextmanager
    def _nothing_gathered(self) -> Iterator[None]:
        """A Hessian importance would write what it gathered into the network's gradients, and forget it."""
        gathered = getattr(self._importance, "_accu_grad", None)
        if gathered is None:
            yield
            return
        self._importance._accu_grad = {}
        try:
            yield
        finally:
            self._importance._accu_grad = gathered

    def gradient_of(self, parameter: Tensor) -> Tensor | None:
        """The gradient that a parameter is judged by: its own, or the squares that a Hessian importance gathered."""
        gathered = getattr(self._importance, "_accu_grad", None)
        if not gathered or parameter not in gathered:
            return parameter.grad
        squares: Tensor = gathered[parameter] / self._importance._counter[parameter]
        return squares


def _group(weights: Sequence[Tensor], gradients: Sequence[Tensor | None], parts: Sequence[Part], *, skip: bool) -> Any:
    """torch-pruning's group of layers that hold just these slices; layers without a gradient may be skipped."""
    from torch_pruning.dependency import Dependency, Group, Node

    biases = {p.name: (w, g) for w, g, p in zip(weights, gradients, parts, strict=True) if p.name.endswith(".bias")}
    items = []
    for weight, gradient, part in zip(weights, gradients, parts, strict=True):
        if part.name.rpartition(".")[2] == "bias" or (skip and gradient is None):
            continue
        made = _layer(weight, gradient, part)
        if made is not None:
            bias = biases.get(f"{part.name.rpartition('.')[0]}.bias") if part.role != "in" else None
            if bias is not None and part.each == 1:
                made[0].bias = _parameter(bias[0].flatten(), bias[1])
            items.append((part.role != "out" or part.each > 1, made, part.each))
    group = Group()
    channels = len(weights[0])
    for late, (layer, prune), each in sorted(items, key=lambda item: item[0]):
        node = Node(layer, None, type(layer).__name__)
        count = channels * each
        group.add_dep(Dependency(prune, prune, node, node), list(range(count)))
        group[-1].root_idxs = [index // each for index in range(count)]
        assert late or each == 1  # the first layer sets how many channels there are
    return group


def _layer(weight: Tensor, gradient: Tensor | None, part: Part) -> tuple[Any, Callable[..., Any]] | None:
    """A layer that holds the slices, and the pruning of torch-pruning that would cut it; None if it looks away."""
    from torch_pruning.pruner import function

    rows = weight.reshape(len(weight) * part.each, -1)
    slopes = None if gradient is None else gradient.reshape(rows.shape)
    layer: Any
    convolution = issubclass(part.layer, CONVOLUTION)
    if part.role in ("out", "in") and (convolution or issubclass(part.layer, nn.Linear)):
        if part.depthwise:
            return None
        if part.role == "in":
            rows, slopes = rows.T, None if slopes is None else slopes.T
        kind = "conv" if convolution else "linear"
        layer = nn.Conv2d(1, 1, 1, bias=False) if convolution else nn.Linear(1, 1, bias=False)
        size = (*rows.shape, 1, 1) if convolution else tuple(rows.shape)
        layer.weight = _parameter(rows.reshape(size), None if slopes is None else slopes.reshape(size))
        return layer, getattr(function, f"prune_{kind}_{part.role}_channels")
    for base, kind in _NORMS.items():
        if issubclass(part.layer, base) and part.role == "with" and part.name.rpartition(".")[2] == "weight":
            count = len(rows)
            layer = {"batchnorm": nn.BatchNorm2d(count), "layernorm": nn.LayerNorm(count),
                     "groupnorm": nn.GroupNorm(1, count)}[kind]  # fmt: skip
            layer.weight, layer.bias = _parameter(rows.flatten(), slopes), None
            return layer, getattr(function, f"prune_{kind}_out_channels")
    return None


def _parameter(values: Tensor, gradient: Tensor | None) -> nn.Parameter:
    made = nn.Parameter(values.detach().contiguous(), requires_grad=gradient is not None)
    if gradient is not None:
        made.grad = gradient.reshape(values.shape).contiguous()
    return made


def as_criterion(wish: Any) -> Callable[..., Tensor]:
    """A criterion as it is; an importance of torch-pruning made into one.

    Raises:
        PruneError: it works with torch-pruning's own pruner only.
    """
    made: Callable[..., Tensor] = TorchPruningImportance(wish) if is_importance(wish) else wish
    return made


def is_importance(value: object) -> bool:
    """Whether a value is an importance of torch-pruning; does not import it."""
    return any(c.__module__.startswith("torch_pruning.") and c.__name__ == "Importance" for c in type(value).__mro__)


def refused(name: str) -> PruneError | None:
    """Why an importance of torch-pruning has no name here, or None for others."""
    hint = _UNNAMED.get(name.removeprefix(PREFIX).removesuffix("Importance")) if name.startswith(PREFIX) else None
    return None if hint is None else PruneError(f"importance {name!r} can't be had by name", hint=hint)


def _register(kind: str, summary: str) -> None:
    """Registers one of torch-pruning's classes under its name; torch-pruning is imported when it is first asked."""

    def criterion(
        weights: list[Tensor],
        gradients: list[Tensor | None],
        *,
        parts: Sequence[Part] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        from torch_pruning.pruner import importance

        made = TorchPruningImportance(getattr(importance, f"{kind}Importance")(), f"{PREFIX}{kind}")
        return made(weights, gradients, parts=parts, generator=generator)

    criterion.__doc__ = f"{summary}, by torch-pruning's `{kind}Importance` with its defaults."
    criterion.__qualname__ = f"{PREFIX}{kind}"
    importances.register(f"{PREFIX}{kind}", gradients=kind in _BY_GRADIENT, comparable=kind == "LAMP")(criterion)


for _kind, _summary in {
    "Magnitude": "Sum of squares, relative to the group's mean",
    "GroupMagnitude": "Sum of squares, relative to the group's mean",
    "Taylor": "Sum of |weight * gradient|, relative to the group's mean",
    "GroupTaylor": "Sum of |weight * gradient|, relative to the group's mean",
    "BNScale": "|gamma| of the batch norms",
    "LAMP": "Layer-adaptive magnitude",
    "FPGM": "Sum of the distances to the other channels",
    "Random": "Random scores, uniform in [0, 1)",
}.items():
    _register(_kind, _summary)
