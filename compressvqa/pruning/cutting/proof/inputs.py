"""What a pruning is tried on: other numbers in the place of the example's, and other batch and picture sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressvqa.pruning.recording.running import tensors_of
from compressvqa.torch_private import tree_map_only

_LARGE = 64  # from this side on a picture gets smaller, below it larger
_STRIDE = 32  # networks seldom ask for multiples of more


def fresh_inputs(inputs: Any, seed: int) -> Any:
    """Random tensors of the same sizes and ranges, each drawn on its own; whole numbers are kept, they may be indices.

    Each item of a tensor has a mean and a contrast of its own, so that a network answers each with another number.
    """
    return _drawn(inputs, seed, lambda tensor: tensor)


def double_inputs(inputs: Any) -> Any:
    """Floating-point tensors in 64 bits, the rest as it is."""
    return tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, inputs)


@dataclass(frozen=True)
class Sizes:
    """Other sizes for an example: of its batch (from, to), and of the sides of its pictures.

    All tensors that share the batch or the sides change together, so that pairs of pictures and masks still fit.
    With `moved`, rows of whole numbers (words, positions) are turned by as many places as the row's number and one:
    other inputs, made of numbers that the network takes.
    """

    batch: tuple[int, int] | None = None
    sides: tuple[tuple[int, int], tuple[int, int]] | None = None
    moved: bool = False

    def of(self, tensor: Tensor) -> Tensor:
        """A tensor of the new size; positions that are too many begin again from the first."""
        if self.batch is not None and tensor.ndim and tensor.shape[0] == self.batch[0]:
            tensor = _stretched(tensor, 0, self.batch[1])
        if self.sides is not None and tensor.ndim >= 3 and tuple(tensor.shape[-2:]) == self.sides[0]:
            tensor = _stretched(_stretched(tensor, -2, self.sides[1][0]), -1, self.sides[1][1])
        if self.moved and _is_rows_of_numbers(tensor):
            tensor = torch.stack([row.roll(number + 1, -1) for number, row in enumerate(tensor)])
        return tensor

    def draw(self, inputs: Any, seed: int) -> Any:
        """Fresh inputs of these sizes."""
        return _drawn(inputs, seed, self.of)


def other_sizes(inputs: Any) -> list[Sizes]:
    """Other batch and picture sizes that a network may take, those that differ most first; the last changes nothing."""
    tensors = tensors_of(inputs)
    numbers = [t for t in tensors if t.is_floating_point() or t.is_complex()]
    batched = next((len(t) for t in [*numbers, *tensors] if t.ndim > 1 and len(t)), None)
    picture = next((t for t in numbers if t.ndim >= 4 and min(t.shape[-2:]) > 1), None)
    batch = None if batched is None else (batched, batched - 1 if batched > 2 else batched + 1)
    sides = None if picture is None else _other_sides(picture.shape[-2], picture.shape[-1])
    moved = any(_is_rows_of_numbers(t) for t in tensors)
    tried = [Sizes(batch, sides, moved), Sizes(batch, None, moved), Sizes(None, sides, moved), Sizes(batch), Sizes()]
    return list(dict.fromkeys(tried))


def _is_rows_of_numbers(tensor: Tensor) -> bool:
    """Whether it may hold words or positions; masks hold two numbers at most."""
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if not whole or tensor.ndim < 2 or tensor.numel() < 3 or tensor.device.type == "meta":
        return False
    return int(tensor.max()) - int(tensor.min()) > 1


def _other_sides(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sides that are multiples of the same power of two; those of large pictures get smaller, which costs less."""
    down, right = (min(side & -side, _STRIDE) for side in (height, width))
    if min(height, width) >= _LARGE:
        down, right = (step if side >= 3 * step else step // 2 for step, side in ((down, height), (right, width)))
        return (height, width), (height - down, width - right * (2 if width >= 4 * right else 1))
    down, right = (step if side > step else max(step // 2, 1) for step, side in ((down, height), (right, width)))
    return (height, width), (height + down, width + right)


def _stretched(tensor: Tensor, dim: int, size: int) -> Tensor:
    positions = torch.arange(size, device=tensor.device) % tensor.shape[dim]
    return tensor.index_select(dim, positions)


def _drawn(inputs: Any, seed: int, sized: Callable[[Tensor], Tensor]) -> Any:
    generator = torch.Generator().manual_seed(seed + 1)

    def draw(tensor: Tensor) -> Tensor:
        tensor = sized(tensor.detach())
        if tensor.is_complex():
            return torch.view_as_complex(draw(torch.view_as_real(tensor).contiguous()))
        if not tensor.is_floating_point() or not tensor.numel():
            return tensor.clone()
        low, high = (float(side) for side in tensor.aminmax())
        if not -float("inf") < low <= high < float("inf"):  # a mask that is added to something
            return tensor.clone()
        noise = torch.rand(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            each = (len(tensor),) + (1,) * (tensor.ndim - 1)
            contrast = 0.4 + 0.6 * torch.rand(each, generator=generator)
            noise = noise * contrast + (1 - contrast) * torch.rand(each, generator=generator)
        return (noise * (high - low if high > low else 1.0) + low).to(tensor)

    return tree_map_only(Tensor, draw, inputs)
