"""One tensor at one moment of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(eq=False)  # a frozen one takes three times as long to make
class Value:
    """One tensor at one moment.

    Args:
        index: position in the order of making.
        shape: its size.
        dtype: its element type.
        leaf: name of the parameter or buffer that it is, if it is one.
        source: "leaf", "input", "constant" (made outside the run) or "op".
    """

    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    source: str = "op"
    leaf: str | None = None
