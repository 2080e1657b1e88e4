"""What a network says of validation clips, beside what is known of them: every figure of a run's table comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from compressvqa.metrics.values import Array


@dataclass(frozen=True)
class Judged:
    """Scores and labels of the same clips, higher is better in both.

    Args:
        scores: (n,), of the network.
        labels: (n,).
        label: what the labels are, in words: "VMAF 0.6.1 of 1,272 validation patches".
        span: the lowest and the highest possible label; None where nobody said.
        contents: for each clip, what it shows; empty where that is not told.
    """

    scores: Array
    labels: Array
    label: str
    span: tuple[float, float] | None
    contents: tuple[str, ...] = ()
