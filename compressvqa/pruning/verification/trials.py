"""The inputs that both networks are tried on: those given, fresh draws, another batch size, another picture size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressvqa.torch_private import tree_leaves, tree_map_only

Sizes = Callable[[Tensor], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Trial:
    """Inputs and what they are, in words."""

    name: str
    inputs: Any


def drawn(inputs: Any, seed: int, sizes: Sizes | None = None, *, integers: bool = True) -> Any:
    """Fresh random inputs: every tensor is drawn on its own, uniformly in the range of the one given.

    Integers are drawn among the numbers between the least and the largest given, so that an index stays one; masks of
    zeros and ones, and whatever holds one value only, are kept, as far as their size is.

    Args:
        inputs: what a network is called with.
        seed: of the draw.
        sizes: the size of what is drawn for a tensor; by default its own.
        integers: whether integers are drawn; else they are kept.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor) -> Tensor:
        size = tuple(tensor.shape) if sizes is None else sizes(tensor)
        held = tensor.detach().cpu()
        values = held.resolve_conj().resolve_neg() if held.is_complex() else held
        if held.is_complex():
            parts = [drawn(part.contiguous(), int(torch.randint(2**31, (), generator=generator)), lambda _: size)
                     for part in (values.real, values.imag)]  # fmt: skip
            return torch.complex(*parts).to(tensor)
        few = torch.unique(held, sorted=True) if held.numel() else held
        counts = not held.is_floating_point()
        if len(few) < 2 or (len(few) == 2 and few.tolist() == [0, 1]) or (counts and not integers):
            return _tiled(held, size).to(tensor.device)
        low, high = held.min(), held.max()
        if counts:
            return torch.randint(int(low), int(high) + 1, size, generator=generator).to(tensor)
        noise = torch.rand(size, generator=generator, dtype=torch.float64)
        return (noise * (high.double() - low.double()) + low.double()).to(tensor)

    return tree_map_only(Tensor, draw, inputs)


def _tiled(tensor: Tensor, size: tuple[int, ...]) -> Tensor:
    """A tensor of another size that repeats what this one holds."""
    for d, n in enumerate(size):
        if n != tensor.shape[d] and tensor.shape[d]:
            tensor = tensor.index_select(d, torch.arange(n) % tensor.shape[d])
    return tensor.clone()


def other_batch(inputs: Any, seed: int) -> Trial | None:
    """One more in the batch: the first dimension where all tensors share it; None where they do not."""
    tensors = [t for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim]
    batches = {t.shape[0] for t in tensors}
    if len(batches) != 1 or not (batch := batches.pop()):
        return None
    return Trial(f"batch {batch + 1}", drawn(inputs, seed, lambda t: (batch + 1, *t.shape[1:]) if t.ndim else ()))


def other_pictures(inputs: Any, seed: int) -> Iterator[Trial]:
    """Pictures of other sizes, as they are likely to be taken; the last two dimensions of tensors of four and more."""
    pictures = [t for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim >= 4]
    sides = {tuple(t.shape[-2:]) for t in pictures}
    if len(sides) != 1:
        return
    height, width = sides.pop()
    for tall, wide in _other_sides(height, width):

        def sizes(tensor: Tensor, tall: int = tall, wide: int = wide) -> tuple[int, ...]:
            return (*tensor.shape[:-2], tall, wide) if tensor.ndim >= 4 else tuple(tensor.shape)

        yield Trial(f"pictures of {tall} x {wide}", drawn(inputs, seed, sizes))


def _other_sides(height: int, width: int) -> list[tuple[int, int]]:
    """Heights and widths, first by a multiple of what networks stride by: their strides divide most sizes."""
    found = []
    for step in (32, 16, 8, 4, 2, 1):
        if height % step == 0 and width % step == 0:
            found += [(height - step, width)] if height > 4 * step else []
            found.append((height + step, width))
    return [*found[:7], (2 * height, 2 * width)]
