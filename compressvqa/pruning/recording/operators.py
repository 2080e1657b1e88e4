"""Facts of single operators: name, what they write to, whether they return views, and who called them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from compressvqa.torch_private import schema_of

# Packages whose frames are not the user's code.
_LIBRARY = (f"{Path(torch.__file__).parent}{os.sep}", f"{Path(__file__).parent.parent}{os.sep}", contextlib.__file__)
_SMALL = 1 << 22  # integer tensors up to this many elements are kept: they may be indices


@cache
def facts(func: Any) -> tuple[str, tuple[tuple[int, str], ...], bool]:
    """An operator's name, the places and names of the arguments that it writes to, and whether it returns views."""
    schema = schema_of(func)
    library, _, name = schema.name.partition("::")
    if library not in ("aten", "prims"):  # what another library calls `mean` need not be one
        name = schema.name
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    written = tuple(
        (number, argument.name)
        for number, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return name, written, any(r.alias_info is not None for r in schema.returns)


def same_layout(tensor: Tensor, size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether as_strided asks for what the tensor already is; strides of dimensions of size 1 mean nothing."""
    same = [a == b for a, b, n in zip(tensor.stride(), stride, tensor.shape, strict=False) if n > 1]
    return tuple(tensor.shape) == tuple(size) and all(same)


def written_to(places: Sequence[tuple[int, str]], args: Any, kwargs: Any) -> list[Tensor]:
    """Tensors that the operator writes to, in the order of its signature."""
    found = []
    for number, name in places:
        value = args[number] if number < len(args) else kwargs.get(name)
        found += [t for t in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(t, Tensor)]
    return found


def flat(tree: Any) -> Iterator[Tensor]:
    """The tensors in nested lists and tuples."""
    for item in tree:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from flat(item)


def may_be_index(tensor: Tensor) -> bool:
    """Whether it is whole numbers, few enough to be kept."""
    kinds = (torch.int64, torch.int32, torch.bool, torch.uint8)
    return tensor.dtype in kinds and tensor.numel() <= _SMALL and tensor.device.type != "meta"


def calling_place() -> str:
    """File and line of the nearest caller outside torch and this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (name := _of_user(frame.f_code.co_filename)) is None:
        frame = frame.f_back
    return "?" if frame is None else f"{name}:{frame.f_lineno}"


@cache
def _of_user(path: str) -> str | None:
    """The name of a file of the user's; None where it is torch's or this package's."""
    return None if path.startswith(_LIBRARY) else Path(path).name
