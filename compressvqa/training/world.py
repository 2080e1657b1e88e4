"""Training on several processes that torchrun started: each runs the network on its share of a batch.

The scores of all shares are brought together, so that every process computes the loss of the whole batch: a loss that
compares any two clips is the same as in one process, and so is its gradient (but for the order of sums).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from compressvqa.errors import TrainingError
from compressvqa.torch_private import BATCH_NORM, tree_map_only

log = logging.getLogger(__name__)

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


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

    def any(self, *flags: bool, device: torch.device) -> tuple[bool, ...]:
        """Whether each flag is set in any process."""
        if self.size == 1:
            return flags
        found = torch.tensor(flags, dtype=torch.float32, device=device)
        distributed.all_reduce(found)
        return tuple((found > 0).tolist())


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
        inner: the network inside, with the module paths that it has in one process.
    """

    def __init__(self, network: Callable[..., Any], here: World, inner: nn.Module | None = None) -> None:
        self._network, self._world, self.inner = network, here, inner
        self.clips, self.first, self.total = 1, 0, 1  # of the last call: in this share, before it, in all
        self._sizes = [1]

    def __call__(self, *inputs: Tensor) -> Any:
        """Answers to all items.

        Raises:
            TrainingError: there are fewer items than processes.
        """
        count, size = len(inputs[0]), self._world.size
        if count < size:
            raise TrainingError(f"a batch of {count} can't be shared by {size} processes", hint="a larger batch")
        self._sizes = [len(part) for part in torch.arange(count).tensor_split(size)]
        rank = self._world.rank
        self.clips, self.first, self.total = self._sizes[rank], sum(self._sizes[:rank]), count
        answers = self._network(*(whole.tensor_split(size)[rank] for whole in inputs))
        return tree_map_only(Tensor, self.together, answers)

    def parts(self, count: int) -> list[slice]:
        """Which clips of a batch of so many each process has, in order."""
        ends = [int(part[-1]) + 1 for part in torch.arange(count).tensor_split(self._world.size) if len(part)]
        return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]

    def together(self, rows: Tensor) -> Tensor:
        """What the last call gave in every process, share after share.

        Args:
            rows: of this process's share, one for each of its clips, or as many for each.

        Raises:
            TrainingError: the rows are not as many for each clip.
        """
        each, odd = divmod(len(rows), self.clips) if rows.ndim else (0, 1)
        if odd:
            raise TrainingError(f"a tensor of shape {tuple(rows.shape)} has no rows for each of {self.clips} clips",
                                hint="one process, without torchrun")  # fmt: skip
        return cast(Tensor, _Gather.apply(rows, [each * clips for clips in self._sizes], self._world.rank))

    @contextmanager
    def whole_masks(self, network: nn.Module) -> Iterator[None]:
        """While this lasts, dropout is drawn for the whole batch in every process, as one process draws it.

        Args:
            network: the network itself; its processes must begin each step with the same seed.
        """
        layers = [layer for layer in network.modules() if isinstance(layer, _DROPOUT) or _is_drop_path(layer)]
        for layer in layers:
            layer.__dict__["forward"] = functools.partial(self._masked, layer)
        try:
            yield
        finally:
            for layer in layers:
                del layer.__dict__["forward"]

    def _masked(self, layer: nn.Module, values: Tensor) -> Tensor:
        plain: Callable[[nn.Module, Tensor], Tensor] = type(layer).forward
        rows, odd = divmod(len(values), self.clips)
        if not layer.training or odd:  # what has no rows of clips is drawn for itself
            return plain(layer, values)
        # Rows of a clip lie together. Dropout multiplies by what it makes of ones.
        mask = plain(layer, values.new_ones(rows * self.total, *values.shape[1:]))
        return values * mask[rows * self.first : rows * (self.first + self.clips)]


def _is_drop_path(layer: nn.Module) -> bool:
    """Stochastic depth, as timm and torchvision call it."""
    return type(layer).__name__ in ("DropPath", "StochasticDepth")


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


def inside(model: Any, network: nn.Module) -> nn.Module:
    """The network that runs when a loss calls `model`: `network` itself, or a copy whose weights are shared out."""
    return model.inner if isinstance(model, Shares) and model.inner is not None else network


def parts_of(model: Any, count: int) -> list[slice]:
    """The parts in which a network in training goes through a batch of so many clips: one, or a share a process."""
    return model.parts(count) if isinstance(model, Shares) else [slice(0, count)]


def together(model: Any, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Features of inner modules for the whole batch, share after share, from those of this process's share.

    Args:
        model: the network in training, as a loss is called with it; it was called last to give these features.
        features: {module path: (rows, ...)}.

    Raises:
        TrainingError: a module has no rows for each clip; the message names it.
    """
    if not isinstance(model, Shares):
        return features
    whole = {}
    for path, rows in features.items():
        try:
            whole[path] = model.together(rows)
        except TrainingError as error:
            raise TrainingError(error.what, where=path, hint=error.hint) from error
    return whole


def say_what_differs(network: nn.Module) -> None:
    """Names what makes a training over several processes another one than that of one process."""
    if any(isinstance(layer, BATCH_NORM) for layer in network.modules()):
        log.warning("batch norm sees the share of a process, not the whole batch: results differ from one process")
