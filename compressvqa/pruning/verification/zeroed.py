"""The original with everything zeroed that the smaller network does not have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.pruning.verification.copies import isolated
from compressvqa.pruning.verification.correspondence import Correspondence, Pair, named_tensors
from compressvqa.pruning.verification.locate import Place, Positions
from compressvqa.pruning.verification.norms import LAYERS, KeptStatistics, replace_own
from compressvqa.pruning.verification.running import answers
from compressvqa.torch_private import tree_leaves


class Zeroed:
    """A copy of the original in which what went is zero, and whose norm layers count the kept channels only.

    Args:
        original: the network before pruning; it is copied.
        found: what of it was kept.
        layers: positions that norm layers without a weight kept, by path.
        norms: names of the weights of norm layers of somebody's own, from `own_norms`.
        unzeroed: names of tensors that stay as they are: something is divided by them.
        wide: compute in 64 bits.
    """

    def __init__(
        self,
        original: nn.Module,
        found: Correspondence,
        layers: Mapping[str, Tensor],
        *,
        norms: Collection[str] = (),
        unzeroed: Collection[str] = (),
        wide: bool = True,
    ) -> None:
        self.model = isolated(original, wide=wide)
        self._kept: dict[int, Positions] = {}
        self._mode = KeptStatistics(self._kept)
        self._tensors = named_tensors(self.model)
        self._norms = frozenset(norms)
        self._unzeroed = {(name, d) for name in unzeroed for d in range(self._tensors[name].ndim)}
        self._unzeroed |= _directions(self._tensors)
        for pair in found.pairs.values():
            self._store_as(pair)
        self._separate(found.cut)
        for name, place in found.cut.items():
            self.zero(name, place)
        shared = {id(self._tensors[name]) for name in found.pairs}
        with torch.no_grad():
            for name in found.gone:
                if id(self._tensors[name]) not in shared:
                    self._tensors[name].zero_()
        for path, kept in layers.items():
            self.keep_layer(path, kept)

    def answers(self, inputs: Any, seed: int, *, gradients: bool = False) -> list[Tensor]:
        """The tensors that it returns, on the CPU."""
        self._mode.running.clear()
        with self._mode:
            return answers(self.model, inputs, seed, gradients=gradients)

    def tensor(self, name: str) -> Tensor:
        """One of its tensors."""
        return self._tensors[name]

    def zero(self, name: str, place: Place) -> None:
        """Zeroes what a tensor lost, and lets a norm that has it as its weight count what was kept."""
        if name in self._norms:
            path, _, last = name.rpartition(".")
            replace_own(self.model.get_submodule(path), last, place.kept[0])
        held = self._tensors[name]
        self._kept[id(held)] = place.kept
        with torch.no_grad():
            for d in place.cut:
                if (name, d) not in self._unzeroed:
                    held.index_fill_(d, torch.tensor(place.gone(d), device=held.device), 0)

    def keep_layer(self, path: str, kept: Tensor) -> None:
        """Lets a norm layer without a weight count these channels only."""
        module = self.model.get_submodule(path)
        if id(module) not in self._kept:
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)
        self._kept[id(module)] = (kept,)

    def before_each(self, paths: Collection[str], look: Callable[[str, Tensor], None]) -> None:
        """Calls ``look(path, first tensor)`` before the first call of each of these layers."""
        seen: set[str] = set()

        def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
                first = next((t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)), None)
                if first is not None and path not in seen:
                    seen.add(path)
                    look(path, first)

            return hook

        for path in paths:
            module = self.model.get_submodule(path)
            if isinstance(module, LAYERS) and getattr(module, "weight", None) is None:
                self.keep_layer(path, torch.arange(module.num_channels if isinstance(module, nn.GroupNorm)
                                                   else module.normalized_shape[0]))  # fmt: skip
            module.register_forward_pre_hook(note(path), with_kwargs=True)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._mode.running.append(id(module))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._mode.running.pop()

    def _store_as(self, pair: Pair) -> None:
        """Rounds a tensor to the bits that the smaller network stores it in."""
        held = self._tensors[pair.large]
        if held.is_floating_point() and torch.finfo(pair.dtype).bits < torch.finfo(held.dtype).bits:
            with torch.no_grad():
                held.copy_(held.to(pair.dtype))

    def _separate(self, cut: Mapping[str, Place]) -> None:
        """Gives every name a tensor of its own where a shared one lost different parts under its names."""
        held = self._tensors
        first: dict[int, str] = {}
        for name, place in cut.items():
            other = first.setdefault(id(held[name]), name)
            if any(not torch.equal(a, b) for a, b in zip(cut[other].kept, place.kept, strict=True)):
                path, _, last = name.rpartition(".")
                fresh = held[name].detach().clone()
                parameter = isinstance(held[name], nn.Parameter)
                setattr(self.model.get_submodule(path), last, nn.Parameter(fresh) if parameter else fresh)
        self._tensors = named_tensors(self.model)


def _directions(tensors: Mapping[str, Tensor]) -> set[tuple[str, int]]:
    """Rows of a weight norm's direction: zeros have no length to divide by. A row goes by its length instead."""
    found = set()
    for name, direction in tensors.items():
        for v, g in (("original1", "original0"), ("weight_v", "weight_g")):
            length = tensors.get(name.removesuffix(v) + g) if name.endswith(v) else None
            if length is not None and length.ndim == direction.ndim:
                found |= {(name, d) for d in range(direction.ndim) if length.shape[d] == direction.shape[d] > 1}
    return found
