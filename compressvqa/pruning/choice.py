"""Which channels go: a plan's widths and an importance -> slots to cut from every parameter and buffer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.pruning.groups import Group
from compressvqa.pruning.importance import score
from compressvqa.pruning.labels import Ids
from compressvqa.pruning.record import leaves_of


@dataclass(frozen=True)
class Cut:
    """The channels of one group that go."""

    group: Group
    channels: tuple[int, ...]


def choose(
    model: nn.Module,
    groups: Sequence[Group],
    widths: Mapping[str, int],
    importance: str,
    generator: torch.Generator,
    *,
    without: Collection[str] = (),
) -> list[Cut]:
    """The least important channels of every group that shrinks.

    Args:
        model: the network.
        groups: the groups that may shrink.
        widths: channels kept, by group name; a group that is not named keeps all.
        importance: name of a registered criterion.
        generator: for criteria that draw.
        without: names of parameters that have no say, since nothing reads what they make.
    """
    leaves, cuts = leaves_of(model), []
    parameters = {name for name, _ in model.named_parameters()} - set(without)
    for group in groups:
        gone = group.channels - widths.get(group.name, group.channels)
        if gone <= 0:
            continue
        slots = [s for s in group.slots if s.leaf in parameters]
        weights = [_slices(leaves[s.leaf].detach(), s.dim, s.indices) for s in slots]
        gradients = [None if (g := leaves[s.leaf].grad) is None else _slices(g, s.dim, s.indices) for s in slots]
        scores = score(importance, weights, gradients, generator)
        order = torch.argsort(scores, stable=True)
        cuts.append(Cut(group, tuple(sorted(order[:gone].tolist()))))
    return cuts


def _slices(tensor: Tensor, d: int, indices: Ids) -> Tensor:
    """(channels, elements): what falls with each channel."""
    rows = tensor.movedim(d, 0).reshape(tensor.shape[d], -1)
    picked = rows[torch.from_numpy(indices.copy()).to(tensor.device)]
    return picked.reshape(len(indices), -1).float().cpu()


def slots_of(cuts: Sequence[Cut]) -> dict[tuple[str, int], list[int]]:
    """Positions that go, for each (leaf, dimension)."""
    found: dict[tuple[str, int], list[Ids]] = {}
    for cut in cuts:
        for slot in cut.group.slots:
            found.setdefault((slot.leaf, slot.dim), []).append(slot.indices[list(cut.channels)].ravel())
    return {key: sorted(set(np.concatenate(parts).tolist())) for key, parts in found.items()}


def removed_outputs(cuts: Sequence[Cut]) -> dict[str, tuple[int, ...]]:
    """Output channels that go, by path of the layer that makes them."""
    found: dict[str, set[int]] = {}
    for cut in cuts:
        for slot in cut.group.slots:
            if slot.role == "out":
                owner = slot.leaf.rpartition(".")[0].split(".parametrizations.")[0]
                gone = slot.indices[list(cut.channels)].ravel().tolist()
                found.setdefault(owner or slot.leaf, set()).update(gone)
    return {path: tuple(sorted(gone)) for path, gone in found.items()}
