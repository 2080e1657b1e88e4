"""Whether a wrong cut would be noticed: a proof that could not fail proves nothing.

A wrong cut of a group zeroes other channels than those that went. What that does to the outputs is told for all groups
at once by one backward pass through the pruned network: the derivative of the outputs with respect to each channel that
was kept. Groups for which it says nothing (a network that can't be differentiated, an output that counts or sorts) are
cut wrongly in fact and compared, all of them together first, then by halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting.carried import carried
from compressvqa.pruning.cutting.choice import Cut, slots_of
from compressvqa.pruning.cutting.proof.compare import Scale
from compressvqa.pruning.cutting.proof.observe import Norms, Seen
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.running import leaves_of

MARGIN = 10  # a wrong cut must make an error so many times as large as what is allowed
LEAST_NORM = 1e-2  # and change the norm of a layer by so much of its size

Gradients = Mapping[str, Tensor]


@dataclass(frozen=True)
class Power:
    """What a comparison notices of wrong cuts.

    Args:
        noticed: by name of each group that was cut, how far a wrong cut moves the outputs, in the units of the error;
            for a group that is only read by layers, how far it moves what these layers make.
        unobservable: names of groups whose wrong cut goes unnoticed, and why.
    """

    noticed: Mapping[str, float] = field(default_factory=dict)
    unobservable: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.noticed and not self.unobservable:
            return ""
        said = []
        if self.noticed:
            name, least = min(self.noticed.items(), key=lambda item: item[1])
            groups = f"each of {len(self.noticed)} groups" if len(self.noticed) > 1 else "the one group"
            said.append(f"a wrong cut of {groups} would be noticed (least: {least:.1e}, {name})")
        said += [f"not proven, {name}: {reason}" for name, reason in self.unobservable.items()]
        return "\n".join(said)


def other_channels(cut: Cut) -> Cut:
    """A wrong cut: as many channels of the group, but those that follow the ones that went, as far as there are."""
    gone, count = set(cut.channels), cut.group.channels
    following = [(c + step) % count for step in range(1, count) for c in cut.channels]
    others = [c for c in dict.fromkeys(following) if c not in gone]
    return Cut(cut.group, tuple(sorted(others[: max(1, min(len(gone), len(others) - 1))])))


def differentiated(small: nn.Module, seen: Seen, scales: Sequence[Scale]) -> Gradients:
    """Derivatives of the outputs, mixed at random in their units, with respect to every parameter; {} without any."""
    generator = torch.Generator().manual_seed(7)
    mixed: list[Tensor] = []
    for output, scale in zip(seen.outputs, scales, strict=False):
        if output.requires_grad and output.numel():
            real = torch.view_as_real(output).sum(-1) if output.is_complex() else output
            signs = torch.randn(real.shape, generator=generator).to(real.device)
            weights = signs / (scale.unit * math.sqrt(real.numel()))
            mixed.append((torch.nan_to_num(real).double() * weights).sum())
    return _gradients(small, mixed)


def differentiated_inside(small: nn.Module, norms: Norms) -> Gradients:
    """The same of the norms of layers, each in units of its own size."""
    generator = torch.Generator().manual_seed(8)
    mixed = []
    for calls in norms.values():
        for _, norm in calls:
            if norm.requires_grad and math.isfinite(size := float(norm.detach())) and size > 0:
                mixed.append(norm / size * torch.randn((), generator=generator).to(norm.device))
    return _gradients(small, mixed)


def _gradients(small: nn.Module, mixed: Sequence[Tensor]) -> Gradients:
    names = {name: p for name, p in small.named_parameters() if p.requires_grad}
    if not mixed or not names:
        return {}
    total = torch.stack([m.double() for m in mixed]).sum()
    try:
        found = torch.autograd.grad(total, list(names.values()), allow_unused=True, retain_graph=True)
    except RuntimeError:  # it writes over what its derivatives need
        return {}
    return {name: g for name, g in zip(names, found, strict=True) if g is not None}


def effects(small: nn.Module, cuts: Sequence[Cut], gradients: Gradients, *, roles: Sequence[str]) -> dict[str, float]:
    """By group, what the loss of as many kept channels as went changes, to first order.

    Args:
        small: the pruned network.
        cuts: what was cut.
        gradients: derivatives by parameter.
        roles: of the slots that are looked at.
    """
    leaves, gone = leaves_of(small), slots_of(cuts)
    sums: dict[tuple[str, int], Any] = {}
    found: dict[str, float] = {}
    for one in cuts:
        kept, most = np.setdiff1d(np.arange(one.group.channels), one.channels), 0.0
        for slot in one.group.slots if len(kept) else ():
            key = slot.leaf, slot.dim
            if slot.role not in roles or slot.leaf not in gradients:
                continue
            if key not in sums:
                change = torch.real(leaves[slot.leaf].detach() * gradients[slot.leaf].conj())
                sums[key] = (
                    change.movedim(slot.dim, 0).reshape(change.shape[slot.dim], -1).sum(1).double().cpu().numpy()
                )
            old = slot.indices[kept]
            there = ~np.isin(old, gone[key]) if slot.shared else np.ones_like(old, dtype=bool)
            places = np.minimum(old - np.searchsorted(gone[key], old), len(sums[key]) - 1)
            changes = np.where(there, sums[key][places], 0.0).sum(1)
            together = float(np.sqrt(np.square(changes).mean() * min(len(one.channels), len(kept))))
            most = max(most, together if math.isfinite(together) else 0.0)
        found[one.group.name] = most
    return found


def noticed_by_halves(
    differs: Callable[[list[Cut]], Mapping[str, float]], cuts: Sequence[Cut], *, together: bool = True
) -> dict[str, float]:
    """The groups whose wrong cut is noticed, and by how much.

    Args:
        differs: cuts these groups wrongly and tells, by group, how far that is from the pruned network where it is
            noticed; several groups at once only show that one of them is.
        cuts: the groups in question.
        together: whether to begin with all of them: best where nothing is noticed of most.
    """
    waiting: list[list[Cut]] = [list(cuts)] if together and cuts else [[c] for c in cuts]
    found: dict[str, float] = {}
    while waiting:
        chunk = waiting.pop()
        noticed = differs(chunk)
        if len(chunk) == 1:
            found.update(noticed)
        elif noticed:
            waiting += [chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]]
    return found


def read_by_layers(trace: Trace, groups: Sequence[Group], layers: Collection[str]) -> set[str]:
    """Names of the groups that only convolutions and linear layers read, each of which is looked at itself.

    Of these a wrong cut is noticed in what the reading layers make, also where no output shows it: behind a sigmoid
    that is saturated, a sort, or an output of whole numbers.

    Args:
        trace: the facts.
        groups: the groups in question.
        layers: paths of the layers whose results are compared.
    """
    of = carried(trace, groups)
    elsewhere: set[int] = set()
    for node in trace.graph.nodes:
        if node.module not in layers:
            elsewhere |= of(node.inputs()) - of(node.outputs)
    return {group.name for k, group in enumerate(groups) if k not in elsewhere}
