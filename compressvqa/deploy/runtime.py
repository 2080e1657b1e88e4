"""What a runtime promises: a network, prepared once, scores blocks of frames as PyTorch would.

A runtime is a class that registers under a name. It turns a network into a function of tensors (`Runtime.compile`), and
into something that scores blocks of frames (`Runtime.prepare`); who only has the first gets the second from it. What is
prepared takes `Frames`: planes in their own bit depth, out of which it makes RGB where and when it likes, or none at
all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from compressvqa.video.block import Frames

Call = Callable[..., Any]


@dataclass(frozen=True)
class BlockSize:
    """The blocks that a network is prepared for.

    Args:
        frames: of a full block; the last block of a file may be shorter, and must be scored too.
        height: of the frames, in pixels.
        width: likewise.
    """

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames} frames of {self.width}x{self.height}"


class Prepared(ABC):
    """A network on one runtime, ready for blocks of one size; used by one thread at a time.

    Attributes:
        runtime: the name of the runtime.
    """

    runtime: str = ""

    @abstractmethod
    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """What a block adds to the score of each of some files.

        Args:
            reference: 1 to `BlockSize.frames` frames of the reference, worked through once for all files; None for a
                no-reference network.
            distorted: the same frames of each distorted file, of the same size.

        Returns:
            for each file what the network's own ``partial`` returns, (1, ...), where it has one, which its ``pool``
            reads; else one number, 0-d: the score of the block. On the CPU.
        """


class Runtime(ABC):
    """A way to run networks.

    A subclass registers with `register_runtime(name, tolerance=..., extra=...)`:

    - `tolerance`: the largest difference from eager PyTorch that it answers for, as a share of what scores differ by
      between a picture and a badly distorted one. It is checked before a prepared network is used.
    - `extra`: the extra of this package that installs what it needs, if it needs anything.
    - `made_for`: the class of the networks that it was written for, if it runs no others: where its tolerance is small
      enough, ``runtime="auto"`` takes it for them without measuring.

    Its constructor takes nothing, and raises `MissingExtraError` where something is not installed.
    """

    @abstractmethod
    def compile(self, network: nn.Module, inputs: Any) -> Call:
        """The network as a function of tensors, in evaluation mode and without gradients.

        Args:
            network: not changed.
            inputs: an example of what the function will be called with: a tensor, a tuple or list of positional
                arguments, or a dictionary of named ones. Shapes are those of the example.

        Returns:
            called with the same structure, ``call(*inputs)`` or ``call(**inputs)``; returns what the network returns,
            as tensors.

        Raises:
            RuntimeRefusedError: it can't run this network.
        """

    @abstractmethod
    def prepare(self, network: nn.Module, size: BlockSize) -> Prepared:
        """The network ready for blocks of frames.

        Args:
            network: in evaluation mode, on the device that it is to run on; not changed.
            size: of the blocks.

        Raises:
            RuntimeRefusedError: it can't run this network, or not blocks of this size, or not on this device.
        """
