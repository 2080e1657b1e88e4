"""Settles what values leave open by running both networks: what a layer reads says which of its channels were kept."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from compressvqa.pruning.verification.copies import isolated
from compressvqa.pruning.verification.correspondence import Correspondence
from compressvqa.pruning.verification.doubt import Doubts, read_at
from compressvqa.pruning.verification.running import answers
from compressvqa.pruning.verification.zeroed import Zeroed
from compressvqa.torch_private import tree_leaves

Owners = dict[str, list[tuple[str, int | None]]]  # path of a layer in the original: what of it is open


def settled_by_running(
    original: nn.Module,
    smaller: nn.Module,
    found: Correspondence,
    doubts: Doubts,
    inputs: Any,
    *,
    norms: Collection[str],
    wide: bool,
    seed: int,
) -> tuple[Correspondence, dict[str, Tensor]]:
    """The correspondence in which each layer in doubt keeps the channels that it is seen reading.

    The original runs with everything zeroed that is known; as each layer in doubt begins, what it reads is held against
    what it reads in the smaller network, and what it lost is zeroed before it goes on.

    Args:
        original: the network before pruning.
        smaller: what was made of it.
        found: what values and neighbours say.
        doubts: what they leave open, with choices.
        inputs: what both are called with.
        norms: weights of norm layers of somebody's own.
        wide: compute in 64 bits.
        seed: of the networks' random numbers.

    Returns:
        The correspondence, and the positions that norm layers without a weight kept, by path.
    """
    owners: Owners = {}
    for name, d in doubts:
        owners.setdefault(name if d is None else name.rpartition(".")[0], []).append((name, d))
    read = _read_by(isolated(smaller, wide=wide), _paths_in_smaller(found, owners), inputs, seed)
    pairs, layers = dict(found.pairs), first_layers(doubts)
    unsettled = {name for name, d in doubts if d is not None}
    zeroed = Zeroed(original, found.without(unsettled), {}, norms=norms, wide=wide)

    def settle(path: str, large: Tensor) -> None:
        small = read.get(path)
        for name, d in owners[path] if small is not None else ():
            before, after = (
                found.layers[name] if d is None else (pairs[name].place.size[d], len(pairs[name].place.kept[d]))
            )
            for choice in (*doubts[name, d], None):
                assert small is not None
                kept = read_at(large, small, choice, before, after)
                if kept is None:
                    continue
                if d is None:
                    layers[name] = kept
                else:
                    pairs[name] = replace(pairs[name], place=pairs[name].place.replaced(d, kept))
                break
        for name, d in owners[path]:
            if d is None and name in layers:
                zeroed.keep_layer(name, layers[name])
            elif d is not None:
                zeroed.zero(name, pairs[name].place)

    zeroed.before_each(owners, settle)
    with contextlib.suppress(Exception):  # it stops where a layer is not what it is taken for
        zeroed.answers(inputs, seed)
    return replace(found, pairs=pairs), layers


def first_layers(doubts: Doubts) -> dict[str, Tensor]:
    """For norm layers without a weight, the likeliest positions."""
    return {name: choices[0] for (name, d), choices in doubts.items() if d is None and choices}


def _paths_in_smaller(found: Correspondence, owners: Owners) -> dict[str, str]:
    """Where the layers stand in the smaller network: path there -> path in the original."""
    paths = {}
    for path, names in owners.items():
        small = [found.pairs[name].small.rpartition(".")[0] for name, d in names if d is not None]
        paths[small[0] if small else path] = path
    return paths


def _read_by(model: nn.Module, paths: Mapping[str, str], inputs: Any, seed: int) -> dict[str, Tensor]:
    """The first tensor that each layer is called with, at its first call."""
    read: dict[str, Tensor] = {}

    def note(path: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            first = next((t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)), None)
            if first is not None and path not in read:
                read[path] = first.detach().clone()

        return hook

    for path, name in paths.items():
        model.get_submodule(path).register_forward_pre_hook(note(name), with_kwargs=True)
    answers(model, inputs, seed)
    return read
