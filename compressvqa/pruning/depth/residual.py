"""Whether a block is residual, seen while it runs: does its input reach its output through additions?

`Watch` sees every operator below autograd. For each block that is running it knows which tensors still hold the block's
input in its own order, with something added or not, and which were computed from it in any way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.torch_private import DispatchMode, operator_name, tree_leaves

# The input passes these in its own order, ...
_VIEWS = frozenset({
    "alias", "clone", "contiguous", "detach", "lift_fresh", "reshape", "_reshape_alias", "squeeze", "_to_copy",
    "_unsafe_view", "unsqueeze", "view",
})  # fmt: skip
# ... and these are applied to the sum as a whole, in blocks that normalise or clip after the addition.
_AFTER = frozenset({
    "batch_norm", "cudnn_batch_norm", "_fused_rms_norm", "gelu", "hardswish", "hardtanh", "leaky_relu", "mish",
    "native_batch_norm", "native_group_norm", "native_layer_norm", "_native_batch_norm_legit_no_training", "relu",
    "rms_norm", "silu",
})  # fmt: skip


@dataclass(frozen=True)
class BlockCall:
    """What one call of a block showed.

    Args:
        residual: whether the input reaches the output through additions of what was computed from it.
        doubt: why the call can't be left out, or None.
    """

    residual: bool
    doubt: str | None = None


@contextlib.contextmanager
def watched(blocks: Mapping[str, nn.Module]) -> Iterator[dict[str, list[BlockCall]]]:
    """Watches these blocks while the network runs; gives the calls of each, by the name that it is given here."""
    watch, calls = _Watch(), {path: list[BlockCall]() for path in blocks}
    handles = []
    for path, module in blocks.items():
        handles.append(module.register_forward_pre_hook(watch.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(watch.leave(calls[path].append), with_kwargs=True))
    try:
        with watch:
            yield calls
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Running:
    """A block that is running.

    Args:
        shape: of its first argument.
        dtype: of its first argument.
        carried: tensors that hold that argument, by id, and whether something was added to it already.
        depends: ids of all tensors that were computed from it.
        held: what the ids stand for, so that none is given away twice.
    """

    shape: torch.Size
    dtype: torch.dtype
    carried: dict[int, bool]
    depends: set[int]
    held: list[Tensor] = field(default_factory=list)

    @classmethod
    def on(cls, first: Tensor) -> _Running:
        """A block that begins."""
        return cls(first.shape, first.dtype, {id(first): False}, {id(first)}, [first])

    def see(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Follows the input through one operator."""
        outputs = _tensors(result)
        self.held += outputs
        carries = self._carries(name.rstrip("_"), args, kwargs, outputs[0].shape) if outputs else None
        written = outputs[0] if name.endswith("_") and outputs else None
        if written is not None and (carries is None or id(written) not in self.carried):
            # What shares its memory with the tensor that is written is in doubt from now on.
            memory = written.untyped_storage()._cdata
            for other in self.held:
                if id(other) in self.carried and other.untyped_storage()._cdata == memory:
                    del self.carried[id(other)]
        if any(id(t) in self.depends for t in _tensors((args, dict(kwargs)))):
            self.depends |= {id(t) for t in outputs}
        for k, output in enumerate(outputs):
            self.carried.pop(id(output), None)
            if k == 0 and carries is not None:
                self.carried[id(output)] = carries

    def _carries(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], shape: torch.Size) -> bool | None:
        """True if the first result holds the input with something added, False if without, None if it does not."""
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is None:
            return None
        if name in _VIEWS or name in _AFTER:
            return self.carried.get(id(first))
        if name not in ("add", "sub") or len(args) < 2:
            return None
        second = args[1] if isinstance(args[1], Tensor) else None
        if second is None:
            return self.carried.get(id(first))
        found = None
        plain = kwargs.get("alpha", 1) == 1 and name == "add"
        for own, other in ((first, second), *([(second, first)] if plain else [])):
            if id(own) in self.carried and own.shape == shape:
                summed = self.carried[id(own)] or id(other) in self.depends
                found = summed if found is None else found or summed
        return found


class _Watch(DispatchMode):
    """Shows every operator to the blocks that are running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._running: list[_Running | None] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = operator_name(func)
        for running in self._running:
            if running is not None:
                running.see(name, args, kwargs or {}, result)
        return result

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A block begins."""
        first = args[0] if args and isinstance(args[0], Tensor) else None
        self._running.append(None if first is None else _Running.on(first))

    def leave(self, note: Callable[[BlockCall], None]) -> Callable[..., None]:
        """What is done where a block ends: its verdict is noted."""

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            note(_verdict(self._running.pop(), output))

        return hook


def _verdict(call: _Running | None, output: Any) -> BlockCall:
    if call is None:
        return BlockCall(False, "does not take a tensor as its first argument by position")
    if not isinstance(output, Tensor):
        return BlockCall(False, f"returns a {type(output).__name__}, not a tensor")
    if output.shape != call.shape:
        return BlockCall(False, f"makes {tuple(output.shape)} of {tuple(call.shape)}, so nothing can take its place")
    if output.dtype != call.dtype:
        return BlockCall(False, f"makes {output.dtype} of {call.dtype}, so nothing can take its place")
    return BlockCall(bool(call.carried.get(id(output))))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
