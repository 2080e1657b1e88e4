"""Proof of a pruning: the small network must equal the original whose cut channels are zero, on fresh random inputs.

It is tried twice: with the network's own weights, and with weights shaken by noise, because a layer that is scaled by
1e-6, or that starts at zero, would hide any mistake behind it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.choice import Cut, slots_of
from compressvqa.pruning.cutting.surgery import copied, cut
from compressvqa.pruning.dependency.rules.by_hand import STATISTICS
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.running import leaves_of, quiet, run, tensors_of
from compressvqa.pruning.widths.density import WEIGHTED

TOLERANCE = 1e-5
_DOUBTFUL = 1e-2  # up to here float32 rounding may be at fault, and float64 decides
_DRAWN = 65521
_ROUNDING = 1e-3  # of the size of a layer's result; a wrong cut changes it by much more


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Args:
        error: largest difference of any output, relative to the largest value of that output.
        failure: why the pruned network does not run at all, or None.
        allowed: the largest error that rounding explains.
    """

    error: float
    failure: str | None = None
    allowed: float = TOLERANCE

    def __str__(self) -> str:
        if self.failure is not None:
            return f"without some of its channels the network does not run ({self.failure})"
        return f"without some of its channels the output is off by {self.error:.1e}"

    @property
    def doubtful(self) -> bool:
        """Whether rounding in 32 bits may be at fault."""
        return self.failure is None and TOLERANCE < self.error < _DOUBTFUL

    @property
    def passed(self) -> bool:
        """Whether the pruned network equals the zeroed one."""
        return self.failure is None and self.error <= self.allowed


def pruned_copy(model: nn.Module, trace: Trace, cuts: Sequence[Cut], dead: Sequence[str]) -> nn.Module:
    """A copy of the network without the cut channels and the dead modules."""
    gone = gone_roots(trace, cuts)
    attributes = {}
    for key, (number, ids) in trace.dependencies.attributes().items():
        left = ~gone[trace.dependencies.classes.find(ids)]
        if not left.all():
            attributes[key] = number * int(left.sum()) // len(ids)
    return cut(model, slots_of(cuts), attributes, dead)


def check(
    model: nn.Module,
    trace: Trace,
    cuts: Sequence[Cut],
    dead: Sequence[str],
    inputs: Any,
    seed: int,
    small: nn.Module | None = None,
) -> Verdict:
    """Compares the pruned network with the zeroed one, with true and with shaken weights.

    Args:
        model: the original network.
        trace: its trace.
        cuts: the channels that go.
        dead: paths of modules that go.
        inputs: example inputs; the check draws others of the same size, range and type.
        seed: of the draw.
        small: the pruned network; made anew without it.
    """
    proof = _Proof(trace, cuts, dead, fresh_inputs(inputs, seed), seed)
    verdict = proof.compare(model, small or pruned_copy(model, trace, cuts, dead))
    if verdict.doubtful:
        verdict = proof.compare_exactly(model, verdict)
    if not verdict.passed:
        return verdict
    for share in (0.5, 0.1, 0.02):
        shaken = _shaken(model, share, seed)
        again = proof.compare(shaken, pruned_copy(shaken, trace, cuts, dead), shaken=True)
        if again.doubtful:
            again = proof.compare_exactly(shaken, again)
        if not math.isnan(again.error):  # not a number where the noise was too much for this network
            worse = again.error / again.allowed > verdict.error / verdict.allowed
            return again if worse or not again.passed else verdict
    return verdict


@dataclass(frozen=True)
class _Proof:
    """What is cut, and the inputs that it is tried on."""

    trace: Trace
    cuts: Sequence[Cut]
    dead: Sequence[str]
    inputs: Any
    seed: int

    def compare_exactly(self, model: nn.Module, doubtful: Verdict) -> Verdict:
        """The verdict in 64 bits; a network that runs in 32 bits only is held against its own rounding."""
        exact = copied(model, {}).double()
        inputs = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, self.inputs)
        try:
            outputs_of(exact, inputs, self.seed)
        except Exception:  # it makes 32-bit tensors of its own
            return replace(doubtful, allowed=max(TOLERANCE, 4 * self._rounding(model)))
        small = pruned_copy(exact, self.trace, self.cuts, self.dead)
        return replace(self, inputs=inputs).compare(exact, small)

    def _rounding(self, model: nn.Module) -> float:
        """How far the zeroed network's answers move when its inputs do by a few units in the last place."""
        moved = tree_map_only(Tensor, lambda t: t * (1 + 2**-21) if t.is_floating_point() else t, self.inputs)
        zeroed = _zeroed(model, self.trace, self.cuts)
        with _KeptStatistics(self.trace, self.cuts):
            expected, _ = outputs_of(zeroed, self.inputs, self.seed)
        with _KeptStatistics(self.trace, self.cuts):
            return error_of(expected, outputs_of(zeroed, moved, self.seed)[0])

    def compare(self, model: nn.Module, small: nn.Module, *, shaken: bool = False) -> Verdict:
        """The verdict on a pruned network; its error is not a number where the shaken network itself fails."""
        try:
            outputs, sizes = outputs_of(small, self.inputs, self.seed)
        except Exception as error:  # any network may fail in any way; the pruning is refused for it
            return Verdict(math.inf, f"{type(error).__name__}: {error}".splitlines()[0])
        try:
            with _KeptStatistics(self.trace, self.cuts):
                expected, wanted = outputs_of(_zeroed(model, self.trace, self.cuts), self.inputs, self.seed)
        except Exception as error:  # a network that looks at its numbers may fail on those of the check
            if shaken:
                return Verdict(math.nan)
            return Verdict(math.inf, f"{type(error).__name__}: {error}, with these channels zeroed".splitlines()[0])
        if shaken and not all(bool(torch.isfinite(t).all()) for t in expected if t.is_floating_point()):
            return Verdict(math.nan)
        for name, _ in self.trace.dependencies.unzeroed:
            wanted.pop(self.trace.owners[name], None)
        return Verdict(max(error_of(expected, outputs), differing(wanted, sizes)))


_Sizes = dict[str, list[tuple[tuple[int, ...], float]]]  # by layer and call: positions of its channels, and norm


def outputs_of(model: nn.Module, inputs: Any, seed: int) -> tuple[list[Tensor], _Sizes]:
    """Outputs of a network, and the norm of what each convolution and linear layer made on the way.

    An output may hide a mistake (behind a saturated sigmoid, or a branch that is weighted by zero); a layer does not.
    Zeroed rows add nothing to the norm of a layer's result, so it is the same in both networks.
    """
    sizes: _Sizes = {}

    def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                features = output.ndim - 1 if isinstance(module, nn.Linear) else 1
                others = tuple(n for d, n in enumerate(output.shape) if d != features)
                norm = float(torch.linalg.vector_norm(output.detach(), dtype=torch.float64))
                sizes.setdefault(path, []).append((others, norm))

        return hook

    handles = [m.register_forward_hook(note(path)) for path, m in model.named_modules() if isinstance(m, WEIGHTED)]
    try:
        with quiet(model), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return tensors_of(run(model, inputs)), sizes
    finally:
        for handle in handles:
            handle.remove()


def differing(wanted: _Sizes, found: _Sizes) -> float:
    """The largest relative difference of a layer's norm, 0 where all are equal but for rounding."""
    norms = [norm for calls in wanted.values() for _, norm in calls if math.isfinite(norm)]
    worst, least = 0.0, _ROUNDING * max(norms, default=0.0)
    for path, calls in found.items():
        for (there, a), (here, b) in zip(wanted.get(path, ()), calls, strict=False):
            # A layer over tokens or heads has cut channels among its positions, where its bias makes something of zero.
            if there == here and math.isfinite(a) and abs(a - b) > _ROUNDING * max(a, least):
                worst = max(worst, abs(a - b) / max(a, least))
    return worst


def error_of(expected: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """Largest difference, relative to the largest value of each tensor."""
    if [t.shape for t in expected] != [t.shape for t in outputs]:
        return math.inf
    worst = 0.0
    for a, b in zip(expected, outputs, strict=True):
        if not a.numel():
            continue
        if not a.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(a, b) else math.inf)
            continue
        scale = float(a.abs().max())
        error = float((a - b).abs().max()) / (scale if scale > 0 else 1.0)
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def fresh_inputs(inputs: Any, seed: int) -> Any:
    """Random tensors of the same sizes and range; integers are kept, they may be indices."""

    def draw(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not tensor.numel():
            return tensor
        generator = torch.Generator().manual_seed(seed + 1)
        low, high = float(tensor.min()), float(tensor.max())
        noise = torch.rand(tensor.shape, generator=generator) * (high - low if high > low else 1.0) + low
        return noise.to(tensor)

    return tree_map_only(Tensor, draw, inputs)


def _shaken(model: nn.Module, share: float, seed: int) -> nn.Module:
    """A copy with noise on all weights, of `share` times the size that a fresh layer's weights have."""
    memo: dict[int, Any] = {}
    # One draw serves all weights; its prime length lets every row of a weight begin elsewhere in it.
    drawn = torch.randn(_DRAWN, generator=torch.Generator().manual_seed(seed + 2))
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel():
            fan_in = parameter.numel() / len(parameter) if parameter.ndim > 1 else 4.0
            noise = drawn.repeat(-(-parameter.numel() // _DRAWN))[: parameter.numel()].view(parameter.shape)
            moved = parameter.detach().add(noise.to(parameter), alpha=share / math.sqrt(fan_in))
            memo[id(parameter)] = nn.Parameter(moved, parameter.requires_grad)
    return copied(model, memo)


def gone_roots(trace: Trace, cuts: Sequence[Cut]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each root, whether its channel goes."""
    slots = trace.dependencies.slots
    gone = np.zeros(len(slots), bool)
    for c in cuts:
        slot = c.group.slots[0]
        labels = slots.first[slot.leaf][slot.dim] + slot.indices[list(c.channels)].ravel()
        gone[trace.dependencies.classes.find(labels)] = True
    return gone


def _zeroed(model: nn.Module, trace: Trace, cuts: Sequence[Cut]) -> nn.Module:
    """A copy in which every slot of the cut channels is zero; parameters that hold none are shared, not copied."""
    leaves = leaves_of(model)
    memo: dict[int, Any] = {id(p): p for name, p in model.named_parameters() if name not in trace.graph.written}
    for (name, d), gone in slots_of(cuts).items():
        if (name, d) in trace.dependencies.unzeroed:
            continue
        leaf = leaves[name]
        held = memo.get(id(leaf))
        if held is None or held is leaf:
            fresh = leaf.detach().clone()
            held = nn.Parameter(fresh, leaf.requires_grad) if isinstance(leaf, nn.Parameter) else fresh
            memo[id(leaf)] = held
        with torch.no_grad():
            held.index_fill_(d, torch.from_numpy(gone).to(leaf.device), 0)
    return copied(model, memo)


class _KeptStatistics(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets normalisations take their mean and variance over the kept channels only."""

    def __init__(self, trace: Trace, cuts: Sequence[Cut]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        gone, find = gone_roots(trace, cuts), trace.dependencies.classes.find
        self._kept: dict[tuple[Any, int], tuple[int | None, Any]] = {}
        for s in trace.dependencies.statistics:
            cut_at = gone[np.maximum(find(s.labels), 0)]
            if cut_at.any():
                self._kept[s.key, s.order] = s.axis, np.flatnonzero(~cut_at)
        self._orders: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.rpartition("::")[2], kwargs or {}
        if not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        key = (name, tuple(args[0].shape))
        kept = self._kept.get((key, self._orders[key]))
        self._orders[key] += 1
        if kept is None:
            return func(*args, **kwargs)
        axis, index = kept[0], torch.from_numpy(kept[1]).to(args[0].device)
        if name == "native_group_norm":
            return _group_norm(func, args, kwargs, index)
        if axis is None:
            return _layer_norm(func, args, kwargs, index)
        result = func(args[0].index_select(axis, index), *args[1:], **kwargs)
        if name in STATISTICS:
            return result
        return (torch.zeros_like(args[0]).index_copy(axis, index, result[0]), *result[1:])


def _layer_norm(func: Any, args: Any, kwargs: Mapping[str, Any], index: Tensor) -> Any:
    x, width = args[0], len(args[1])
    flat = x.reshape(*x.shape[: x.ndim - width], -1)
    sides = [a.reshape(-1)[index] if isinstance(a, Tensor) else a for a in args[2:]]
    result = func(flat[..., index], [len(index)], *sides, **kwargs)
    first = result[0] if isinstance(result, tuple) else result
    spread = torch.zeros_like(flat).index_copy(-1, index, first).reshape(x.shape)
    return (spread, *result[1:]) if isinstance(result, tuple) else spread


def _group_norm(func: Any, args: Any, kwargs: Mapping[str, Any], index: Tensor) -> Any:
    x, weight, bias, batch, channels, positions, groups, eps = args
    if groups == channels:
        return func(*args, **kwargs)
    sides = [None if a is None else a[index] for a in (weight, bias)]
    result = func(x.index_select(1, index).contiguous(), *sides, batch, len(index), positions, groups, eps, **kwargs)
    return (torch.zeros_like(x).index_copy(1, index, result[0]), *result[1:])


def refused(verdict: Verdict, names: Sequence[str], model: nn.Module) -> PruneError:
    """The error for a pruning that does not pass."""
    hooked = [path or "the network" for path, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    if hooked:
        return PruneError(
            f"the pruned copy is not right ({verdict.failure or f'off by {verdict.error:.1e}'}): a hook that holds the "
            "original network is copied as it is",
            where=", ".join(hooked[:3]),
            hint="remove the hooks, prune, and set them on the result",
        )
    what = verdict.failure or f"its output is off by {verdict.error:.1e} from the network with those channels zeroed"
    return PruneError(f"the pruned network is not right: {what}", where=", ".join(names[:3]), hint="protect these")
