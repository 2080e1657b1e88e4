"""Training on several processes that torchrun started: each runs the network on its share of a batch.

The scores of all shares are brought together, so that every process computes the loss of the whole batch: a loss that
compares any two clips is the same as in one process, and so is its gradient (but for the order of sums).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_map

from compressvqa.errors import TrainingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """The processes of a training.

    Args:
        rank: number of this one; the first, 0, writes all files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wait(self) -> None:
        """Goes on when all are here."""
        self.same(None)

    def same(self, value: Any) -> Any:
        """The value that the first process has, of plain types."""
        if self.size == 1:
            return value
        held = [value if self.first else None]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        found = torch.tensor(float(flag), device=device)
        distributed.all_reduce(found)
        return bool(found.item() > 0)


def world() -> World:
    """The processes that this one trains with; one alone where no training over several was begun."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World()


def launched() -> tuple[int, int] | None:
    """(processes of each machine, machines) as torchrun started them; None where it did not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    each = int(os.environ["LOCAL_WORLD_SIZE"])
    return each, int(os.environ["WORLD_SIZE"]) // each


class Shares:
    """A network that is called with a whole batch, runs on this process's share, and gives the answers to the whole.

    Args:
        network: as Fabric wraps it: it averages gradients over the processes.
        here: the processes.
    """

    def __init__(self, network: Callable[..., Any], here: World) -> None:
        self._network, self._world = network, here

    def __call__(self, *inputs: Tensor) -> Any:
        """Answers to all items.

        Raises:
            TrainingError: there are fewer items than processes.
        """
        count, size = len(inputs[0]), self._world.size
        if count < size:
            raise TrainingError(f"a batch of {count} can't be shared by {size} processes", hint="a larger batch")
        sizes = [len(part) for part in torch.arange(count).tensor_split(size)]
        answers = self._network(*(whole.tensor_split(size)[self._world.rank] for whole in inputs))
        return tree_map(lambda part: cast(Tensor, _Gather.apply(part, sizes, self._world.rank)), answers)


class _Gather(torch.autograd.Function):
    """Rows of all processes.

    All compute one loss of the same rows, so each knows the gradient of its own share, and nothing is sent back. It is
    multiplied by the number of processes because gradients of weights are averaged over them afterwards.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padding = part.new_zeros(max(sizes) - len(part), *part.shape[1:])
        padded = torch.cat([part, padding])
        found = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(found, padded)
        return torch.cat([rows[:count] for rows, count in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        first = sum(ctx.sizes[: ctx.rank])
        return grads[0][first : first + ctx.sizes[ctx.rank]] * len(ctx.sizes), None, None


def say_what_differs(network: nn.Module) -> None:
    """Names what makes a training over several processes another one than that of one process."""
    layers = list(network.modules())
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers):
        log.warning("batch norm sees the share of a process, not the whole batch: results differ from one process")
    if any(isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 for layer in layers):
        log.info("dropout is drawn by each process for its share: results differ from one process as another seed does")
