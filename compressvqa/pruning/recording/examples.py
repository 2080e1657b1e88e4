"""Example inputs of a network, where nobody gives some: whoever makes networks says how to find theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from compressvqa.errors import CompressVQAError, PruneError

finders: list[Callable[[nn.Module], Any]] = []  # each returns inputs, or raises for a network that it does not know


def examples_of(model: nn.Module) -> Any:
    """What a network is called with.

    Raises:
        PruneError: nobody knows.
    """
    fault: CompressVQAError | None = None
    for find in finders:
        try:
            return find(model)
        except CompressVQAError as error:
            fault = error
    raise PruneError(f"no example inputs are known for {type(model).__name__}", hint="give inputs=...") from fault
