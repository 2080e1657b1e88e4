"""The two networks of a proof: the original with the cut channels zeroed, and the pruned one. Both are copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressvqa.pruning.cutting.choice import Cut, slots_of
from compressvqa.pruning.cutting.surgery import cut
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.untouched import Memory


@dataclass
class Pair:
    """Copies that may be run, moved to 64 bits and thrown away.

    Args:
        zeroed: the original with every slot of the cut channels zero.
        small: the pruned network.
    """

    zeroed: nn.Module
    small: nn.Module
    _memories: dict[int, Memory] = field(default_factory=dict, repr=False)

    def double(self) -> None:
        """Turns both to 64 bits."""
        self.zeroed, self.small = self.zeroed.double(), self.small.double()
        self._memories.clear()

    def float(self) -> None:
        """Turns both back to 32 bits."""
        self.zeroed, self.small = self.zeroed.float(), self.small.float()
        self._memories.clear()

    def memory(self, network: nn.Module) -> Memory | None:
        """What one of both is put back to after a run, looked at once; None for any other network."""
        if network is not self.zeroed and network is not self.small:
            return None
        if id(network) not in self._memories:
            self._memories[id(network)] = memory = Memory()
            memory.keep(network)
        return self._memories[id(network)]


def gone_roots(trace: Trace, cuts: Sequence[Cut]) -> NDArray[np.bool_]:
    """For each root, whether its channel goes."""
    slots = trace.dependencies.slots
    gone = np.zeros(len(slots), bool)
    for c in cuts:
        slot = c.group.slots[0]
        labels = slots.first[slot.leaf][slot.dim] + slot.indices[list(c.channels)].ravel()
        gone[trace.dependencies.classes.find(labels)] = True
    return gone


def pruned_copy(model: nn.Module, trace: Trace, cuts: Sequence[Cut], dead: Sequence[str]) -> nn.Module:
    """A copy of the network without the cut channels and the dead modules."""
    gone = gone_roots(trace, cuts)
    attributes = {}
    for key, (number, ids) in trace.dependencies.attributes().items():
        left = ~gone[trace.dependencies.classes.find(ids)]
        if not left.all():
            attributes[key] = number * int(left.sum()) // len(ids)
    return cut(model, slots_of(cuts), attributes, dead)


def zeroed_copy(
    model: nn.Module, trace: Trace, cuts: Sequence[Cut], weights: dict[int, Tensor] | None = None
) -> nn.Module:
    """A copy in which every slot of the cut channels is zero.

    Args:
        model: the network; parameters that nothing writes to share their memory with the copy's.
        trace: its trace.
        cuts: the channels that go.
        weights: what to take in the place of parameters, by their id; the copy may keep these.
    """
    weights = weights or {}
    changed = {(name, d): gone for (name, d), gone in slots_of(cuts).items()}
    leaves = leaves_of(model)
    own: dict[int, Tensor] = {}
    for (name, d), gone in changed.items():
        if (name, d) in trace.dependencies.unzeroed:
            continue
        leaf = leaves[name]
        held = own.get(id(leaf))
        if held is None:
            held = own[id(leaf)] = weights[id(leaf)] if id(leaf) in weights else leaf.detach().clone()
        with torch.no_grad():
            held.index_fill_(d, torch.from_numpy(gone).to(leaf.device), 0)
    return copied(model, _memo(model, trace, {**weights, **own}))


def shared_copy(model: nn.Module, trace: Trace) -> nn.Module:
    """A copy that shares the memory of parameters that nothing writes to, and nothing else."""
    return copied(model, _memo(model, trace, {}))


def _memo(model: nn.Module, trace: Trace, own: dict[int, Tensor]) -> dict[int, Any]:
    """What stands in a copy for each parameter: a new object, so that one that is set anew stays what it was."""
    memo: dict[int, Any] = {}
    for name, leaf in model.named_parameters():
        values = own.get(id(leaf))
        if values is None and type(leaf) is nn.Parameter:
            values = leaf.detach().clone() if name in trace.graph.written else leaf.detach()
        if values is not None:
            memo[id(leaf)] = nn.Parameter(values, leaf.requires_grad)
    for tensor in leaves_of(model).values():  # buffers, and tensors held as plain attributes
        if id(tensor) in own and id(tensor) not in memo:
            memo[id(tensor)] = own[id(tensor)]
    return memo
