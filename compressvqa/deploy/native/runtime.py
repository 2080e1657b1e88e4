"""The runtime "native": RankDVQA and its pruned forms by `Kernel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.deploy.native.build import NativeUnavailableError
from compressvqa.deploy.native.kernel import Kernel
from compressvqa.deploy.native.pack import Precision
from compressvqa.deploy.native.self_test import TOLERANCES, check, eager_scores
from compressvqa.deploy.runtime import BlockSize, Call, Prepared, Runtime
from compressvqa.errors import DataError, RuntimeRefusedError, WeightsError
from compressvqa.models.rankdvqa import SMALLEST_SIDE, RankDVQA
from compressvqa.registry import runtimes
from compressvqa.video.block import Frames
from compressvqa.video.frames import Planes
from compressvqa.video.rgb import rgb_planes

# Tried in turn, the cheapest first: the first that agrees with eager well enough is taken.
ORDER: tuple[Precision, ...] = ("mixed", "int16", "float32")


@runtimes.register("native", tolerance=TOLERANCES["mixed"], made_for=RankDVQA)
class Native(Runtime):
    """RankDVQA and its pruned forms in C++, compiled for this processor at first use; see docs/speed.md."""

    name = "native"
    order = ORDER

    def compile(self, network: nn.Module, inputs: Any) -> Call:
        """As `Runtime.compile`: ``call(reference, distorted)``, (B, T, 3, H, W) each, to (B,) scores."""
        kernel = checked_kernel(network, self.order)

        def call(reference: Tensor, distorted: Tensor) -> Tensor:
            return torch.tensor([_whole(kernel, r, d) for r, d in zip(reference, distorted, strict=True)])

        return call

    def prepare(self, network: nn.Module, size: BlockSize) -> Prepared:
        """As `Runtime.prepare`."""
        if min(size.height, size.width) < SMALLEST_SIDE:
            raise RuntimeRefusedError(f"native code scores pictures of {SMALLEST_SIDE} pixels a side at least")
        return NativeBlocks(checked_kernel(network, self.order), self.name)


@runtimes.register("native-float32", tolerance=TOLERANCES["float32"], made_for=RankDVQA)
class NativeFloat32(Native):
    """The same in float32: PyTorch's scores but for rounding, and several times the cost of "native"."""

    name = "native-float32"
    order = ("float32",)


class NativeBlocks(Prepared):
    """A kernel called block by block.

    Args:
        kernel: that agrees with eager.
        runtime: the name that it goes by.
    """

    def __init__(self, kernel: Kernel, runtime: str = "native") -> None:
        self.kernel, self.runtime = kernel, runtime

    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """As `Prepared.partials`; with several distorted files the features of the reference are kept meanwhile."""
        if reference is None:
            raise DataError("RankDVQA compares with a reference, and there is none")
        left = _planes(reference)
        if len(distorted) == 1:
            scores = [self.kernel.score(left, _planes(distorted[0]))]
        else:
            features = self.kernel.features(left)
            scores = [self.kernel.score_kept(features, _planes(frames)) for frames in distorted]
        return [torch.tensor([[[score]]]) for score in scores]


def checked_kernel(network: nn.Module, order: Sequence[Precision] = ORDER) -> Kernel:
    """A kernel of a network that agrees with eager PyTorch: of the first precision in `order` that does.

    Raises:
        RuntimeRefusedError: it is no RankDVQA on the CPU, can't be compiled here, or differs from eager.
    """
    if type(network) is not RankDVQA:
        raise RuntimeRefusedError(f"native code knows RankDVQA and its pruned forms, not {type(network).__name__}")
    device = next(network.parameters()).device.type
    if device != "cpu":
        raise RuntimeRefusedError(f"native code runs on the CPU, the network is on {device}")
    refusal: RuntimeRefusedError | None = None
    eager: list[float] | None = None
    for precision in order:
        try:
            kernel = Kernel(network, precision=precision)
            eager = eager_scores(network) if eager is None else eager
            check(kernel, network, eager)
            return kernel
        except (NativeUnavailableError, WeightsError) as error:
            raise RuntimeRefusedError(error.what, where=error.where, hint=error.hint) from error
        except RuntimeRefusedError as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _whole(kernel: Kernel, reference: Tensor, distorted: Tensor) -> float:
    """The score of a clip of any length, (T, 3, H, W) each: the mean over its blocks."""
    blocks = zip(torch.split(reference, kernel.frames), torch.split(distorted, kernel.frames), strict=True)
    return float(np.mean([kernel.score(_of_rgb(r), _of_rgb(d)) for r, d in blocks]))


def _planes(frames: Frames) -> Sequence[Planes]:
    return frames.planes if frames.planes is not None else _of_rgb(frames.rgb()[0])


def _of_rgb(clip: Tensor) -> list[Planes]:
    """Planes of 16 bits of RGB, (T, 3, H, W) in [0, 1]."""
    return [rgb_planes(tuple(frame.float().numpy()), 1.0) for frame in clip.cpu()]
