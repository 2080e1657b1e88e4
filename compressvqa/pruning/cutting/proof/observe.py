"""Runs a network once and notes what it shows: its outputs, and how large what its layers made on the way was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import WEIGHTED, quiet, tensors_of
from compressvqa.pruning.recording.untouched import Memory, seed_all
from compressvqa.torch_private import is_transformed

Norms = dict[str, list[tuple[tuple[int, ...], Tensor]]]  # by layer and call: positions of its channels, and norm


@dataclass
class Seen:
    """What one run showed.

    Args:
        outputs: every tensor that the network returned.
        norms: the norm of what each convolution and linear layer made, a 0-d tensor a call. An output may hide a
            mistake (behind a saturated sigmoid, or a branch that is weighted by zero); a layer does not. Zeroed rows
            add nothing to the norm of a layer's result, so it is the same in both networks.
    """

    outputs: list[Tensor]
    norms: Norms = field(default_factory=dict)


def observe(
    model: nn.Module,
    entry: Entry,
    seed: int,
    *,
    within: contextlib.AbstractContextManager[None] | None = None,
    gradients: bool = False,
    memory: Memory | None = None,
) -> Seen:
    """Calls a network on a copy of the inputs; whatever it changes but its parameters is put back.

    Args:
        model: the network.
        entry: how it is called, and with what.
        seed: of the random states, for a network that draws.
        within: what else holds while it runs.
        gradients: whether the outputs can be differentiated.
        memory: what the network is put back to; as it is now without it.
    """
    norms: Norms = {}

    def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            # Inside vmap a layer sees one item of many, whose norm can't be read.
            if isinstance(output, Tensor) and output.is_floating_point() and not is_transformed(output):
                features = output.ndim - 1 if isinstance(module, nn.Linear) else 1
                others = tuple(n for d, n in enumerate(output.shape) if d != features)
                made = output.clone() if gradients else output  # which the network may write over
                norms.setdefault(path, []).append((others, torch.linalg.vector_norm(made, dtype=torch.float64)))

        return hook

    handles = [m.register_forward_hook(note(path)) for path, m in modules_of(model) if isinstance(m, WEIGHTED)]
    try:
        put_back = quiet(model, train=entry.train, gradients=gradients, memory=memory)
        with put_back, within or contextlib.nullcontext():
            seed_all(seed)
            return Seen(tensors_of(entry.call(model, entry.copied().inputs)), norms)
    finally:
        for handle in handles:
            handle.remove()
