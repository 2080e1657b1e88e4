"""Which of several equal channels were kept, where a tensor's own values don't say.

Norms of a network as it is built are all ones, biases all zeros. Then other tensors say it: first those of the same
layer, then those near it that went from as many channels to as many. Which of these is right may be tried by running:
what a layer reads in the smaller network is what it reads in the original, at the positions that were kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressvqa.pruning.verification.correspondence import Correspondence, Pair, named_tensors, output_dimension
from compressvqa.pruning.verification.locate import Place, hashes

Doubts = dict[tuple[str, int | None], list[Tensor]]  # what may have been kept, likeliest first


def settled(found: Correspondence, original: nn.Module, smaller: nn.Module) -> tuple[Correspondence, Doubts]:
    """Takes for every open dimension the positions that tensors near it have.

    Args:
        found: what values say.
        original: the network before pruning.
        smaller: what was made of it.

    Returns:
        The correspondence, and for each dimension (None: a norm layer that holds no tensor) that is still open the
        choices, the one taken first. Where nothing is near, there is no choice, and the first equal ones are taken.
    """
    ours, theirs = named_tensors(original), named_tensors(smaller)
    pairs = dict(found.pairs)
    for names in _siblings(found):
        for name, place in _jointly({n: pairs[n] for n in names}, ours, theirs).items():
            pairs[name] = replace(pairs[name], place=place)
    order = {path: number for number, (path, _) in enumerate(original.named_modules(remove_duplicate=False))}
    doubts: Doubts = {}
    for name, d in Correspondence(pairs).open:
        place = pairs[name].place
        known = _known(pairs, original, order, place.size[d], len(place.kept[d]), name, d)
        small, large = theirs[pairs[name].small], _as(ours[name], theirs[pairs[name].small])
        fits = [kept for kept in known if torch.equal(place.replaced(d, kept).of(large), small)]
        if fits:
            pairs[name] = replace(pairs[name], place=place.replaced(d, fits[0]))
        doubts[name, d] = fits
    for path, (before, after) in found.layers.items():
        doubts[path, None] = list(_known(pairs, original, order, before, after, f"{path}.weight", 0))
    return replace(found, pairs=pairs), doubts


def _as(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor if tensor.dtype == other.dtype else tensor.to(other.dtype)


def _siblings(found: Correspondence) -> list[list[str]]:
    """Names of vectors of one module that lost as many elements, where one of them leaves a choice."""
    groups: dict[tuple[str, int, int], list[str]] = {}
    for name, pair in found.pairs.items():
        if len(pair.place.size) == 1 and pair.place.cut:
            key = name.rpartition(".")[0], pair.place.size[0], len(pair.place.kept[0])
            groups.setdefault(key, []).append(name)
    return [names for names in groups.values() if any(found.pairs[name].place.open for name in names)]


def _jointly(pairs: Mapping[str, Pair], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Place]:
    """Places of the vectors of one layer, whose elements at one position belong to one channel."""
    large = torch.stack([_as(ours[n], theirs[p.small]).detach().double().cpu() for n, p in pairs.items()], 1)
    small = torch.stack([theirs[p.small].detach().double().cpu() for p in pairs.values()], 1)
    there, here = (hashes(t.contiguous().view(torch.int64), 0) for t in (large, small))
    equal = here[:, None] == there[None]
    if bool((equal.sum(1) != 1).any()):
        return {}
    kept = equal.long().argmax(1)
    return {name: pair.place.replaced(0, kept) for name, pair in pairs.items()}


def _known(
    pairs: Mapping[str, Pair], original: nn.Module, order: Mapping[str, int], before: int, after: int, name: str, d: int
) -> Iterator[Tensor]:
    """Different sets of positions that tensors have which went from as many to as many, the nearest first."""
    ranked: list[tuple[tuple[float, int, str, int], Tensor]] = []
    here = order[name.rpartition(".")[0]]
    for other, pair in pairs.items():
        path = other.rpartition(".")[0]
        for e in pair.place.cut:
            if pair.place.size[e] == before and len(pair.place.kept[e]) == after and e not in pair.place.open:
                makes = e == output_dimension(original.get_submodule(path), torch.empty(pair.place.size, device="meta"))
                steps = order[path] - here
                # A norm follows the layer that makes its channels, and stands before the one that reads them.
                rank = abs(steps) + (0.5 if steps > 0 else 0.0), int(makes == (steps > 0))
                ranked.append(((*rank, other, e), pair.place.kept[e]))
    said: list[Tensor] = []
    for _, kept in sorted(ranked, key=lambda item: item[0]):
        if not any(torch.equal(kept, earlier) for earlier in said):
            said.append(kept)
            yield kept


def read_at(large: Tensor, small: Tensor, kept: Tensor | None, before: int, after: int) -> Tensor | None:
    """Positions at which a layer reads in the original what it reads in the smaller network.

    Args:
        large: what it reads in the original.
        small: what it reads in the smaller network.
        kept: positions that are tried; None looks for them.
        before: channels of the original.
        after: channels of the smaller network.

    Returns:
        The positions, or None where what is read is something else.
    """
    for axis in range(large.ndim):
        sizes = [*large.shape[:axis], after, *large.shape[axis + 1 :]]
        if large.ndim != small.ndim or large.shape[axis] != before or list(small.shape) != sizes:
            continue
        a, b = (t.detach().double().movedim(axis, 0).reshape(t.shape[axis], -1) for t in (large, small))
        scale = 1e-6 * float(b.abs().max())
        if kept is None:
            near = (torch.cdist(b, a, compute_mode="donot_use_mm_for_euclid_dist") <= scale * b.shape[1] ** 0.5).int()
            found: Tensor = near.argmax(1)
            if bool(near.any(1).all()) and len(set(found.tolist())) == after:
                return found
        elif float((a[kept] - b).abs().max()) <= scale:
            return kept
    return None
