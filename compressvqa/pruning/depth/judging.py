"""Which residual blocks do the least: their influence on what goes through them, and what a loss says without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, PruneError
from compressvqa.pruning.cutting.removed import Removed
from compressvqa.pruning.depth.blocks import places_of
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.running import copied_inputs, quiet, run, tensors_of

Loss = Callable[[nn.Module], float]


def influences(model: nn.Module, paths: Sequence[str], batches: Iterable[Any]) -> dict[str, float]:
    """Block Influence: 1 - the mean cosine similarity of what a block takes and what it returns, in [0, 2].

    Tokens are the vectors along the last dimension of tensors with up to three dimensions, as (batch, tokens, width);
    feature maps and volumes, in which the channels may be anywhere, are one vector a sample.

    Args:
        model: the network; it is left as it was.
        paths: of the blocks.
        batches: inputs of the network, each as `prune_depth` takes them.

    Raises:
        PruneError: there is no batch, or a block's result is not a number.
    """
    sums, taken = dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0)
    before: dict[str, list[Tensor]] = {path: [] for path in paths}
    handles = []
    for path in paths:

        def enter(module: nn.Module, args: Any, path: str = path) -> None:
            before[path].append(args[0].detach().clone())  # the block may add to it in place

        def leave(module: nn.Module, args: Any, output: Tensor, path: str = path) -> None:
            similar = _similarities(before[path].pop(), output.detach())
            sums[path] += float(similar.sum())
            taken[path] += similar.numel()

        module = model.get_submodule(path)
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with quiet(model, fused=True):
            for batch in batches:
                run(model, copied_inputs(batch))
    finally:
        for handle in handles:
            handle.remove()
    if not all(taken.values()):
        raise PruneError("there is no batch to judge the blocks by", where="batches")
    scores = {path: 1 - sums[path] / taken[path] for path in paths}
    _must_be_finite(scores)
    return scores


def _similarities(before: Tensor, after: Tensor) -> Tensor:
    """Cosine similarity of every vector, in 64 bits; vectors that stay zero are as similar as can be."""
    a, b = ((t if t.ndim <= 3 else t.flatten(1)).double() for t in (before, after))
    similar = F.cosine_similarity(a, b, dim=-1, eps=0.0)
    none, left = (a == 0).all(-1), (b == 0).all(-1)
    return torch.where(none & left, 1.0, torch.where(none | left, 0.0, similar))


class OutputChange:
    """A loss that needs no label: how far a network's outputs are from those of another one.

    The mean over the batches of the norm of the difference of all outputs, over the norm of the outputs.

    Args:
        model: the network to be like.
        batches: inputs, each as `prune_depth` takes them; held in memory.

    Raises:
        PruneError: there is no batch.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Any]) -> None:
        self._batches = list(batches)
        if not self._batches:
            raise PruneError("there is no batch to judge the blocks by", where="batches")
        with quiet(model, fused=True):
            self._wanted = [self._outputs(model, batch) for batch in self._batches]

    def __call__(self, model: nn.Module) -> float:
        """The change, >= 0; infinite where the outputs have other sizes."""
        changes = []
        for batch, wanted in zip(self._batches, self._wanted, strict=True):
            outputs = self._outputs(model, batch)
            if outputs.shape != wanted.shape:
                return math.inf
            changes.append(float((outputs - wanted).norm() / wanted.norm().clamp_min(torch.finfo(wanted.dtype).tiny)))
        return sum(changes) / len(changes)

    def _outputs(self, model: nn.Module, batch: Any) -> Tensor:
        return torch.cat([t.detach().double().flatten() for t in tensors_of(run(model, copied_inputs(batch)))])


def greedy(model: nn.Module, free: Sequence[str], count: int, loss: Loss) -> tuple[list[str], dict[str, float]]:
    """Blocks that go, one after another, and what each cost when it went; of those that stay, what the next would cost.

    The cost is the loss without the block less the loss with it.
    """
    gone: list[str] = []
    scores: dict[str, float] = {}
    now = _loss_without(model, gone, loss)
    _must_be_finite({"the whole network": now})
    for _ in range(count):
        # Of equals the deeper one goes first.
        tried = {path: _loss_without(model, [*gone, path], loss) for path in reversed(free) if path not in gone}
        _must_be_finite(tried)
        best = min(tried, key=lambda path: tried[path])
        scores |= {path: value - now for path, value in tried.items()}
        gone, now = [*gone, best], tried[best]
    return gone, {path: scores[path] for path in free}


def _loss_without(model: nn.Module, gone: Sequence[str], loss: Loss) -> float:
    """The loss of the network without some blocks; no weight is copied for it."""
    shared: dict[int, Any] = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    small = copied(model, shared)
    for path in gone:
        for place in places_of(model, path):
            parent, _, child = place.rpartition(".")
            setattr(small.get_submodule(parent), child, Removed())
    try:
        with quiet(small, fused=True):
            return float(loss(small))
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if not gone or isinstance(error, CompressVQAError):
            raise  # of the loss itself
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = f"protect={[gone[-1]]!r}"
        raise PruneError(f"without it the network does not run ({said})", where=gone[-1], hint=hint) from error


def _must_be_finite(scores: Mapping[str, float]) -> None:
    for path, score in scores.items():
        if not math.isfinite(score):
            raise PruneError(f"its score is {score}", where=path, hint="look for NaN in the weights and the batches")
