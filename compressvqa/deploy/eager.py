"""PyTorch as it is: the runtime that the others are held against."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from compressvqa.deploy.runtime import BlockSize, Call, Prepared, Runtime
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
        return EagerBlocks(network)


class EagerBlocks(Prepared):
    """A network called block by block, whole frames at once."""

    runtime = "eager"

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))

    def reference(self, frames: Frames) -> Any:
        """What the network's ``prepare`` makes of it, or the frames as RGB."""
        clip = frames.rgb().to(self.device)
        return cast(Any, self.network).prepare(clip) if hasattr(self.network, "prepare") else clip

    def partial(self, reference: Any, distorted: Frames) -> Tensor:
        """As `Prepared.partial`."""
        clip = distorted.rgb().to(self.device)
        if hasattr(self.network, "partial"):
            return cast(Tensor, cast(Any, self.network).partial(reference, clip)).cpu()
        inputs = [] if reference is None else [reference]
        return cast(Tensor, self.network(*inputs, clip)).reshape(-1)[0].cpu()
