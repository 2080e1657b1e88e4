"""The modules of a network, in a flat list."""

from __future__ import annotations

from torch import nn

from compressvqa.torch_private import tables


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """`list(model.named_modules())`, several times as fast: a module that is shared stands under its first path.

    >>> [path for path, _ in modules_of(nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh()))]
    ['', '0', '0.0', '1']
    """
    found: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found.append((path, module))
        prefix = f"{path}." if path else ""
        children = [(prefix + name, child) for name, child in tables(module)[2].items() if child is not None]
        waiting += reversed(children)
    return found
