"""What pruning means, done naively: a copy of the network whose cut slots are zero, in float64.

It shares no code with the verifier: no hooks, no labels; the grammar's normalisations are told which channels count.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from compressvqa.pruning import Group, Pruned


def gone_channels(pruned: Pruned, group: Group) -> list[int]:
    """The channels of a group that went, worked out from the output channels that went."""
    slot = next(s for s in group.slots if s.role == "out")
    owner = slot.leaf.rpartition(".")[0].split(".parametrizations.")[0] or slot.leaf
    gone = set(pruned.removed.get(owner, ()))
    mine = [set(row) for row in slot.indices.tolist()]
    found = [channel for channel, outputs in enumerate(mine) if outputs <= gone]
    assert all(not outputs & gone for channel, outputs in enumerate(mine) if channel not in found), (
        "half a channel went"
    )
    return found


def gone_slots(pruned: Pruned) -> dict[tuple[str, int], set[int]]:
    """Positions that went, by (parameter or buffer, dimension)."""
    found: dict[tuple[str, int], set[int]] = {}
    for group in pruned.groups:
        channels = gone_channels(pruned, group)
        if group.frozen is not None:
            assert not channels, f"{group.name} is frozen and was cut"
        for slot in group.slots if channels else ():
            found.setdefault((slot.leaf, slot.dim), set()).update(slot.indices[channels].ravel().tolist())
    return found


def zeroed(model: nn.Module, slots: dict[tuple[str, int], set[int]]) -> nn.Module:
    """A copy of the network, float64, in which these slots are zero and count for nothing."""
    copied = copy.deepcopy(model).double()
    tensors = {**dict(copied.named_parameters()), **dict(copied.named_buffers())}
    for name, _ in slots:
        if name not in tensors:  # held in another way, such as in a list: `block.tables[1]`
            tensors[name] = eval("net." + re.sub(r"[.]([0-9]+)", r"[\1]", name), {"net": copied})
    with torch.no_grad():
        for (name, dim), positions in slots.items():
            # A row of weight_norm is cut by its size (original0); a direction of zeros would have no length.
            direction = name.endswith("parametrizations.weight.original1") and name[:-1] + "0" in tensors and dim == 0
            path, _, last = name.rpartition(".")
            if not direction and last not in getattr(copied.get_submodule(path), "divides", ()):
                tensors[name].index_fill_(dim, torch.tensor(sorted(positions)), 0)
    for path, module in copied.named_modules():
        positions = slots.get((f"{path}.weight", 0))
        if hasattr(module, "keep") and positions:
            module.keep = torch.tensor([i for i in range(len(module.weight)) if i not in positions])
    return copied


def difference(a: nn.Module, b: nn.Module, inputs: Any) -> float:
    """Largest difference of two float64 networks' answers, relative to the largest value of each answer."""
    inputs = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, inputs)
    with torch.no_grad():
        ours, theirs = ([t for t in tree_leaves(m(*inputs)) if isinstance(t, Tensor)] for m in (a, b))
    assert [t.shape for t in ours] == [t.shape for t in theirs]
    worst = 0.0
    for x, y in zip(ours, theirs, strict=True):
        scale = float(y.abs().max())
        error = float((x - y).abs().max()) / (scale if scale > 0 else 1.0)
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def expected_shapes(model: nn.Module, pruned: Pruned) -> dict[str, tuple[int, ...]]:
    """Shapes that the plan promises for every parameter and buffer that is not in a dead module."""
    kept = pruned.plan.kept
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()}
    for group in pruned.groups:
        lost = group.channels - kept.get(group.name, group.channels)
        for slot in group.slots:
            if slot.leaf in shapes:
                shapes[slot.leaf][slot.dim] -= lost * slot.indices.shape[1]
    dead = tuple(f"{path}." for path in pruned.dead)
    return {name: tuple(shape) for name, shape in shapes.items() if not (dead and name.startswith(dead))}
