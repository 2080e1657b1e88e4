"""One network of the coverage benchmark: how it is built, what it is pruned with, and what it is judged on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from compressvqa.models import create_model, example_inputs
from pruning_coverage.judging import Call
from pruning_coverage.patterns.base import NETWORKS, Network


@dataclass(frozen=True)
class Case:
    """A network that `create_model` knows.

    Args:
        name: for `create_model`.
        size: height and width of its inputs in pixels.
        frames: frames of a clip, where it takes clips.
        settings: of its constructor.
        family: the heading that it is listed under.
    """

    name: str
    size: int = 64
    frames: int = 4
    settings: dict[str, Any] = field(default_factory=dict)
    family: str = ""

    def build(self) -> nn.Module:
        """The network at random initialisation, in eval mode; the same at every call."""
        torch.manual_seed(0)
        return create_model(self.name, **self.settings).eval()

    def inputs(self, model: nn.Module) -> Any:
        """What it is pruned with."""
        return model.inputs() if self.family == "pattern" else self._example(model, self.size, 1)

    def also(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Other methods that it is called by, or "train", with their arguments."""
        return []

    def calls(self, model: nn.Module) -> list[Call]:
        """What the judge calls it with: the inputs given, others of the same size, another size and other batches."""
        given = self.inputs(model)
        found = [Call(given), Call(redrawn(given, 31))]
        if self.family != "pattern":
            found += [
                Call(redrawn(self._example(model, s, b), 32 + b)) for s, b in ((self.size, 2), (self.size * 3 // 2, 1))
            ]
        return found

    def _example(self, model: nn.Module, size: int, batch: int) -> Any:
        return example_inputs(model, size=size, frames=self.frames, batch=batch)

    @property
    def expects(self) -> str:
        """A pattern for the refusal that is right; empty where it has to be pruned."""
        return ""

    @property
    def asked(self) -> dict[str, Any]:
        """Further arguments of `prune`."""
        return {}

    @property
    def wanted(self) -> tuple[str, ...]:
        """Layers that must be narrower afterwards."""
        return ()


class CorpusCase(Case):
    """A network of the corpus, which may be none that `create_model` could build."""

    @property
    def network(self) -> type[Network]:
        """Its class."""
        return NETWORKS[self.name]

    def build(self) -> nn.Module:
        """As its class makes it."""
        torch.manual_seed(0)
        plain = self.network.made.__func__ is Network.made.__func__  # type: ignore[attr-defined]
        return create_model(self.name).eval() if plain else self.network.made()

    def inputs(self, model: nn.Module) -> Any:
        """As its class says: the network itself may be wrapped, scripted or exported."""
        return self.network().inputs()

    def also(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Other methods that it is called by, or "train", with their arguments."""
        return self.network().also()

    def calls(self, model: nn.Module) -> list[Call]:
        """As its class says."""
        return self.network().calls()

    @property
    def expects(self) -> str:
        """A pattern for the refusal that is right; empty where it has to be pruned."""
        return self.network.expects

    @property
    def asked(self) -> dict[str, Any]:
        """Further arguments of `prune`."""
        return self.network.settings

    @property
    def wanted(self) -> tuple[str, ...]:
        """Layers that must be narrower afterwards."""
        return self.network.wanted


def redrawn(inputs: Any, seed: int) -> Any:
    """Other values for every tensor of floats, between the same limits, each drawn on its own."""
    dice = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not tensor.ndim:
            return tensor
        low, high = float(tensor.min()), float(tensor.max())
        return (torch.rand(tensor.shape, generator=dice) * (high - low) + low).to(tensor)

    return tree_map_only(Tensor, draw, inputs)
