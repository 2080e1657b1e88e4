"""The proof of a shallower network: it is the original in which the blocks that went are skipped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.proof.compare import distance
from compressvqa.pruning.cutting.proof.inputs import fresh_inputs
from compressvqa.pruning.cutting.proof.observe import observe
from compressvqa.pruning.cutting.proof.verdict import TOLERANCE
from compressvqa.pruning.cutting.surgery import cut
from compressvqa.pruning.depth.blocks import places_of
from compressvqa.pruning.recording.entries import Entry, examples_in


def prove(model: nn.Module, small: nn.Module, removed: Sequence[str], inputs: Any, seed: int) -> float:
    """How far the shallower network is from the original whose blocks are skipped by hooks.

    Raises:
        PruneError: further than rounding explains, or it does not run.
    """
    worst = _distance(model, small, removed, inputs, seed)
    if worst <= TOLERANCE:
        return worst
    alone = (
        p for p in removed if _distance(model, cut(model, {}, {}, places_of(model, p)), [p], inputs, seed) > TOLERANCE
    )
    bisect = next(alone, removed[0])
    raise PruneError(
        "the network without it is not the network that skips it: its forward looks into the block",
        where=bisect,
        hint=f"protect={[bisect]!r}",
    )


def _distance(model: nn.Module, small: nn.Module, removed: Sequence[str], inputs: Any, seed: int) -> float:
    return max(_distance_on(model, small, removed, example, seed) for example in examples_in(inputs))


def _distance_on(model: nn.Module, small: nn.Module, removed: Sequence[str], example: Any, seed: int) -> float:
    seen = []
    for given in (example, fresh_inputs(example, seed)):
        with _skipping(model, removed):
            expected = observe(model, Entry(given), seed)
        try:
            seen.append((expected, observe(small, Entry(given), seed)))
        except Exception:  # whatever it is, it is the missing blocks' fault: the original ran
            return math.inf
    return distance(seen).error


@contextlib.contextmanager
def _skipping(model: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """The original, in which each of these blocks runs but hands its first input on."""
    kept: list[Tensor] = []

    def enter(module: nn.Module, args: Any) -> Any:
        kept.append(args[0])
        return (args[0].clone(), *args[1:])  # the block may write into it

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        return kept.pop()

    handles: list[RemovableHandle] = []
    try:
        for module in dict.fromkeys(model.get_submodule(path) for path in paths):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        yield
    finally:
        for handle in handles:
            handle.remove()
