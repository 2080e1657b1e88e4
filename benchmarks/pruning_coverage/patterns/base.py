"""What the networks of the corpus have in common: how they are called, and by what else they are judged."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pruning_coverage.judging import Call

NETWORKS: dict[str, type[Network]] = {}


class Network(nn.Module):
    """A network of the corpus. Subclasses without a leading underscore are registered as ``kind/Name``.

    Attributes:
        kind: the heading that it is listed under.
        expects: a pattern for the refusal that is right; empty where it has to be pruned.
        shape: of the example that it is pruned with.
        others: shapes of further inputs, which the judge alone sees.
        settings: further arguments of `prune`.
        wanted: layers that must be narrower afterwards, for the pattern stands on them.
    """

    kind: ClassVar[str] = ""
    expects: ClassVar[str] = ""
    shape: ClassVar[tuple[int, ...]] = (2, 3, 16, 16)
    others: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 3, 20, 12), (1, 3, 14, 18))
    count: ClassVar[int] = 1
    settings: ClassVar[dict[str, Any]] = {}
    wanted: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if cls.kind and not cls.__name__.startswith("_"):
            cls.__doc__ = cls.__doc__ or "A network of the corpus."
            NETWORKS[f"{cls.kind}/{cls.__name__}"] = cls

    @classmethod
    def made(cls) -> nn.Module:
        """The network as a user has it; in eval mode, unless that is the point of it."""
        return cls().eval()

    def inputs(self) -> Any:
        """What it is pruned with: a tuple, or a list of tuples for several examples."""
        return pictures(self.shape, self.count, seed=1)

    def also(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Other methods that are called, or "train" for training mode, with their arguments."""
        return []

    def calls(self) -> list[Call]:
        """What the judge calls it with: other numbers, other sizes, other ways."""
        shapes = (self.shape, *self.others)
        return [Call(pictures(shape, self.count, seed=50 + k)) for k, shape in enumerate(shapes)]


def pictures(shape: tuple[int, ...], count: int = 1, *, seed: int = 1) -> tuple[Tensor, ...]:
    """`count` different tensors of noise in [0, 1]."""
    dice = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(shape, generator=dice) for _ in range(count))


def backbone(*widths: int, stride: int = 2) -> nn.Sequential:
    """Convolutions of 3 x 3 with a ReLU after each; the second one halves the picture."""
    layers: list[nn.Module] = []
    for number, (narrow, wide) in enumerate(zip((3, *widths), widths, strict=False)):
        layers += [nn.Conv2d(narrow, wide, 3, stride if number == 1 else 1, 1), nn.ReLU()]
    return nn.Sequential(*layers)
