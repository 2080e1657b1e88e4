"""Leaves whole residual blocks out of a network: network + how many -> a shallower network, and the proof.

A block that was left out hands its first input on. Blocks go that do the least, by one of these:

- "influence": 1 - the mean cosine similarity of a block's input and output, token by token over real batches (Block
  Influence, Men et al., ShortGPT, 2024, arXiv 2403.03853, equation 1).
- "loss": the loss, or without one the change of the outputs, when the block is left out. Greedy: the block that costs
  least goes, and the others are tried again without it (as Song et al., SLEB, 2024, arXiv 2402.09025, section 3.3). As
  many runs as blocks times blocks removed.
- "even": those between evenly spaced ones that stay, the first and the last among them (Fan et al., LayerDrop, 2020,
  arXiv 1909.11556, section 3.2).
- "last": the last ones, the baseline that every criterion should beat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from compressvqa.errors import PruneError
from compressvqa.module_paths import covers, named
from compressvqa.pruning.cutting.surgery import cut
from compressvqa.pruning.depth.blocks import find_blocks, look_at, places_of, unknown_module
from compressvqa.pruning.depth.judging import Loss, OutputChange, greedy, influences
from compressvqa.pruning.depth.proof import prove
from compressvqa.pruning.recording.doors import enter
from compressvqa.pruning.recording.entries import examples_in
from compressvqa.random_weights import hand_on

if TYPE_CHECKING:
    from compressvqa.cost import Complexity

DEPTH_BY = ("influence", "loss", "even", "last")


@dataclass(frozen=True)
class PrunedDepth:
    """A network with fewer blocks, and how it came about.

    Args:
        model: the shallower network; the one given is left as it was.
        removed: paths of the blocks that were left out, in network order; each is now a `Removed`.
        blocks: paths of all blocks that were looked at.
        scores: by path, what leaving the block out was thought to cost; empty for "even", "last" and given paths.
        by: what chose the blocks.
        max_error: largest difference from the original with the blocks skipped by hooks, relative to the output's
            largest value, on the inputs given and on fresh random ones; 0 unless the device rounds differently from run
            to run. None without verification.
        notes: what deserves saying.
    """

    model: nn.Module
    removed: tuple[str, ...]
    blocks: tuple[str, ...]
    scores: dict[str, float]
    by: str
    max_error: float | None
    notes: tuple[str, ...] = ()
    _original: nn.Module = field(repr=False, kw_only=True)
    _inputs: Any = field(repr=False, kw_only=True)

    @cached_property
    def complexity_before(self) -> Complexity:
        """Parameters and multiply-accumulates of the network as it was given."""
        from compressvqa.cost import profile

        return profile(self._original, self._inputs)

    @cached_property
    def complexity_after(self) -> Complexity:
        """Parameters and multiply-accumulates of the shallower network."""
        from compressvqa.cost import profile

        return profile(self.model, self._inputs)

    def __str__(self) -> str:
        wide = max(len(path) for path in self.blocks)
        lines = [f"{'block':<{wide}}  {self.by}"]
        for path in self.blocks:
            score = f"{self.scores[path]:.4g}" if path in self.scores else ""
            lines.append(f"{path:<{wide}}  {score:<10}  {'removed' if path in self.removed else ''}".rstrip())
        before, after = (sum(p.numel() for p in m.parameters()) for m in (self._original, self.model))
        lines.append(f"parameters: {before:,} -> {after:,} ({after / max(before, 1):.2%})")
        proof = "not verified" if self.max_error is None else f"equal to skipping them within {self.max_error:.1e}"
        return "\n".join([*lines, *self.notes, proof])


def prune_depth(
    model: nn.Module,
    inputs: Any,
    *,
    remove: float | str | Sequence[str] = 0.25,
    blocks: str | Sequence[str] | None = None,
    by: str = "influence",
    batches: Iterable[Any] | None = None,
    loss: Loss | None = None,
    protect: Sequence[str] = (),
    verify: bool = True,
    seed: int = 0,
) -> PrunedDepth:
    """Leaves residual blocks out of any network.

    Args:
        model: the network; it is left as it was.
        inputs: what it is called with: a tuple (by position), a dict (by name) or one tensor. A list of tuples or
            dicts is several examples: a block must be one that can be left out in each, and the check is made on each;
            work is that of the first.
        remove: how many blocks go: a share in (0, 1), rounded to the nearest number; a whole number; or module
            paths, or patterns of them, of the blocks themselves, which then need not be residual, only return a tensor
            of the size that they take.
        blocks: which modules are blocks: patterns of module paths (``encoder.layers.*``), or the path of a list of
            modules. By default the elements of every `nn.ModuleList` and `nn.Sequential`
            whose input reaches their output through additions.
        by: what chooses: "influence", "loss", "even" or "last".
        batches: real inputs, each as one example, for "influence" and for "loss" without a loss; by default `inputs`.
        loss: for "loss": ``loss(network) -> float``, smaller is better, called without gradients and in evaluation
            mode. By default the mean change of the outputs over the batches, relative to their norm.
        protect: module paths, or patterns of them, of blocks that stay; names of other modules have no effect.
        verify: compare with the original whose blocks are skipped by hooks.
        seed: of the random inputs of the check.

    Raises:
        PruneError: a path or number is wrong, a block can't be left out, or the result is not the network with the
            blocks skipped.
    """
    if by not in DEPTH_BY:
        raise PruneError(f"by is {by!r}", hint=", ".join(DEPTH_BY))
    if loss is not None and by != "loss":
        raise PruneError(f"a loss is for by='loss', not for {by!r}")
    model, inputs, _ = enter(model, inputs)
    _must_name_modules(model, protect)
    notes: tuple[str, ...] = ()
    if isinstance(remove, (int, float)):
        found, free, count = blocks_to_go(model, inputs, remove, blocks=blocks, protect=protect)
        chosen, scores = _choose(model, inputs, found, free, count, by, batches, loss)
    else:
        by, scores = "paths", {}
        chosen, notes = _given(model, inputs, [remove] if isinstance(remove, str) else remove)
        found = chosen
    everywhere = [place for path in chosen for place in places_of(model, path)]
    small = cut(model, {}, {}, everywhere)
    notes = (*hand_on(model, small), *notes)
    return PrunedDepth(
        model=small,
        removed=tuple(chosen),
        blocks=tuple(found),
        scores=scores,
        by=by,
        max_error=prove(model, small, chosen, inputs, seed) if verify else None,
        notes=notes,
        _original=model,
        _inputs=examples_in(inputs)[0],
    )


def blocks_to_go(
    model: nn.Module, inputs: Any, remove: float, *, blocks: str | Sequence[str] | None, protect: Sequence[str]
) -> tuple[list[str], list[str], int]:
    """Paths of all blocks, of those that may go, and how many are to go; arguments as in `prune_depth`.

    Raises:
        PruneError: a pattern matches nothing, there is no such block, or fewer may go than are to.
    """
    _must_name_modules(model, protect)
    found = [block.path for block in find_blocks(model, inputs, blocks)]
    free = [path for path in found if not any(covers(pattern, path) for pattern in protect)]
    return found, free, _number(remove, len(found), len(free))


def _must_name_modules(model: nn.Module, protect: Sequence[str]) -> None:
    for pattern in protect:
        if not any(covers(pattern, path) for path, _ in model.named_modules(remove_duplicate=False)):
            raise unknown_module(model, pattern, "protect")


def _number(remove: float, found: int, free: int) -> int:
    """How many blocks go."""
    if isinstance(remove, bool) or remove <= 0 or not math.isfinite(remove):
        raise PruneError(f"remove is a share in (0, 1), a number of blocks or their paths, not {remove!r}")
    if isinstance(remove, float) and remove >= 1:
        raise PruneError(f"remove={remove!r} is no share in (0, 1)", hint=f"remove={int(remove)} for that many blocks")
    count = remove if isinstance(remove, int) else math.floor(remove * found + 0.5)
    if count > free:
        raise PruneError(f"{count} blocks are to go, but only {free} may", hint=f"remove={free} or less")
    if count == 0:
        raise PruneError(f"remove={remove!r} of {found} blocks is less than half a block", hint="remove=1")
    return count


def _choose(
    model: nn.Module,
    inputs: Any,
    found: Sequence[str],
    free: Sequence[str],
    count: int,
    by: str,
    batches: Iterable[Any] | None,
    loss: Loss | None,
) -> tuple[list[str], dict[str, float]]:
    """The blocks that go, in network order, and the scores."""
    scores: dict[str, float] = {}
    if by == "last":
        gone = list(free[len(free) - count :])
    elif by == "even":
        left = len(free) - count
        stay = {round(k * (len(free) - 1) / max(left - 1, 1)) for k in range(left)}
        gone = [path for k, path in enumerate(free) if k not in stay]
    elif by == "influence":
        scores = influences(model, found, examples_in(inputs) if batches is None else batches)
        # Of equals the deeper one goes first.
        gone = sorted(free, key=lambda path: (scores[path], -free.index(path)))[:count]
    else:
        objective = loss or OutputChange(model, examples_in(inputs) if batches is None else batches)
        gone, scores = greedy(model, free, count, objective)
    return [path for path in found if path in gone], scores


def _given(model: nn.Module, inputs: Any, paths: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Blocks that are named one by one, checked, in network order, and what there is to say about them."""
    known = [path for path, _ in model.named_modules(remove_duplicate=False) if path]
    chosen: set[str] = set()
    for path in paths:
        chosen.update(named(path, known))
        if not named(path, known):
            raise unknown_module(model, path, "remove")
    if not paths:
        raise PruneError("nothing would be removed", where="remove")
    ordered = [path for path in known if path in chosen]
    for a in ordered:
        inside = [b for b in ordered if b.startswith(f"{a}.")]
        if inside:
            raise PruneError(f"{inside[0]!r} is part of {a!r}", where="remove", hint=f"leave {inside[0]} out")
    found = look_at(model, inputs, ordered)
    for block in found:
        if block.doubt:
            raise PruneError(f"it can't be left out: it {block.doubt}", where=block.path)
    plain = [block.path for block in found if not block.residual]
    said = ", ".join(plain[:3]) + (f" and {len(plain) - 3} more" if len(plain) > 3 else "")
    return ordered, (f"not seen to add to its input: {said}",) if plain else ()
