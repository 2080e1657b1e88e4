"""PyTorch as it is: the runtime that the others are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from compressvqa.deploy.runtime import BlockSize, Call, Prepared, Runtime
from compressvqa.deploy.strips import StripBlocks
from compressvqa.registry import runtimes
from compressvqa.video.block import Frames


@runtimes.register("eager", tolerance=0.0)
class Eager(Runtime):
    """PyTorch, operator by operator, on the CPU or a GPU."""

    def compile(self, network: nn.Module, inputs: Any) -> Call:
        """As `Runtime.compile`: the network itself."""

        def call(*arguments: Any, **named: Any) -> Any:
            with torch.inference_mode():
                return network(*arguments, **named)

        return call

    def prepare(self, network: nn.Module, size: BlockSize) -> Prepared:
        """As `Runtime.prepare`."""
        rows = rows_of(network, size)
        return EagerBlocks(network) if rows is None else StripBlocks(rows)


def rows_of(network: nn.Module, size: BlockSize, *, whole_steps: bool = False) -> Any:
    """How the network is worked through strip by strip, on the CPU; None where it can't be."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    if not on_cpu or not hasattr(network, "rows") or getattr(network, "frames", None) != size.frames:
        return None
    return cast(Any, network).rows(size.height, size.width, whole_steps=whole_steps)


class EagerBlocks(Prepared):
    """A network called block by block, whole frames at once."""

    runtime = "eager"

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))

    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """As `Prepared.partials`."""
        network = cast(Any, self.network)
        with torch.inference_mode():
            if reference is not None and hasattr(network, "partial"):
                prepared = network.prepare(reference.rgb().to(self.device))
                return [network.partial(prepared, frames.rgb().to(self.device)).cpu() for frames in distorted]
            inputs = [] if reference is None else [reference.rgb().to(self.device)]
            return [network(*inputs, frames.rgb().to(self.device)).reshape(-1)[0].cpu() for frames in distorted]
