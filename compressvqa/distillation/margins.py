"""From the margins of a ranker to probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from compressvqa.errors import TrainingError


def to_probabilities(margin: Tensor, *, temperature: float = 1.0, symmetric: bool = True) -> Tensor:
    """Probability that the first clip of each pair is the better one.

    Args:
        margin: score of the first clip minus score of the second, (B,), any real number.
        temperature: divides the margin, > 0. Large margins saturate: the probabilities of a sure teacher are all 0 or
            1 and tell the student no more than the label; a temperature above 1 shows how sure it is.
        symmetric: (B, 2) rows [p, 1 - p] if true, else the paper's column p, (B, 1).

    Returns:
        Probabilities in float32 (float64 for float64 input), also under autocast. Both columns are computed from the
        margin, so a probability of 1e-30 is as exact as one of 0.5.

    Raises:
        TrainingError: the margin is not one-dimensional, or the temperature not positive.

    >>> to_probabilities(torch.tensor([0.0, 2.0]), temperature=2.0)
    tensor([[0.5000, 0.5000],
            [0.7311, 0.2689]])
    """
    if margin.ndim != 1:
        raise TrainingError(f"margins must have the shape (B,), not {tuple(margin.shape)}")
    if not temperature > 0:
        raise TrainingError(f"the temperature is {temperature!r} and must be positive")
    wide = margin.to(torch.float64 if margin.dtype == torch.float64 else torch.float32) / temperature
    columns = [wide.sigmoid(), (-wide).sigmoid()] if symmetric else [wide.sigmoid()]
    return torch.stack(columns, 1)
