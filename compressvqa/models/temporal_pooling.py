"""From the features of frames to the feature of a clip; each way with the paper that it is taken from."""

from __future__ import annotations

import difflib
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError

Pooling = Literal["mean", "std", "attention", "gru"]


class Mean(nn.Module):
    """The mean over frames: with a linear head, the mean of the frames' scores."""

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) to (B, C)."""
        return frames.mean(dim=1)


class MeanAndDeviation(nn.Module):
    """Mean and standard deviation over frames, so that quality which comes and goes is told from quality that stays.

    Statistics pooling: D. Snyder et al., "X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018. The
    deviation is that of the frames at hand (divided by T); one frame has none.
    """

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) to (B, 2 C)."""
        mean = frames.mean(dim=1)
        variance = (frames - mean.unsqueeze(1)).square().mean(dim=1)
        # The slope of a root is infinite at 0, where every still picture is.
        return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


class Attention(nn.Module):
    """A mean with learnt weights, as viewers judge a clip by some of its moments.

    Weights are the softmax over frames of w^T tanh(V h): M. Ilse, J. Tomczak, M. Welling, "Attention-based Deep
    Multiple Instance Learning", ICML 2018, equation 8.

    Args:
        width: channels of a frame's feature.
        hidden: rows of V.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.weight = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) to (B, C)."""
        weights = self.weight(self.hidden(frames).tanh()).softmax(dim=1)
        pooled: Tensor = (weights * frames).sum(dim=1)
        return pooled


class Recurrent(nn.Module):
    """The mean of a gated recurrent unit's states, which know the order of the frames.

    D. Li, T. Jiang, M. Jiang, "Quality Assessment of In-the-Wild Videos" (VSFA), ACM Multimedia 2019, section 3.2:
    reduced features, then a gated recurrent unit. The scores of frames are pooled there, their states here.

    Args:
        width: channels of a frame's feature.
        hidden: channels of the reduced feature and of the state.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.reduce, self.states = nn.Linear(width, hidden), nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) to (B, hidden)."""
        states: Tensor = self.states(self.reduce(frames))[0]
        return states.mean(dim=1)


def temporal_pooling(name: str, width: int, hidden: int) -> tuple[nn.Module, int]:
    """A pooling (B, T, width) to (B, C), and its C.

    Args:
        name: "mean", "std" (mean and deviation), "attention" or "gru".
        width: channels of a frame's feature.
        hidden: channels inside "attention" and "gru".

    Raises:
        DataError: no such pooling, or fewer than one channel.
    """
    if hidden < 1:
        raise DataError(f"a temporal pooling with {hidden} channels", hint="1 or more")
    if name == "mean":
        return Mean(), width
    if name == "std":
        return MeanAndDeviation(), 2 * width
    if name == "attention":
        return Attention(width, hidden), width
    if name == "gru":
        return Recurrent(width, hidden), hidden
    known = get_args(Pooling)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if isinstance(name, str) else []
    raise DataError(f"there is no temporal pooling {name!r}", hint=", ".join(near or known))
