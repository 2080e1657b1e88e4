"""A batch of single clips, each with an opinion of it, or without: what regression and distillation learn from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ScoredBatch(NamedTuple):
    """N clips.

    Clips are (N, T, 3, H, W), float32 RGB in [0, 1]; `reference` is None for a no-reference data set. `opinion` is
    (N,), turned so that higher is better, in standard deviations about the mean of the training part; None where
    nobody was asked. A key names a clip exactly: equal keys mean equal pixels.
    """

    reference: Tensor | None
    distorted: Tensor
    opinion: Tensor | None
    keys: list[str]
