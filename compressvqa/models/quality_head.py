"""From the feature of a clip to its score: what takes the place of a backbone's classifier."""

from __future__ import annotations

from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.clips import at_least_single


class QualityHead(nn.Module):
    """Linear regression of the feature, or a perceptron with one hidden layer.

    Args:
        width: channels of the feature.
        hidden: channels of the hidden layer, with GELU after it; None: none.
        dropout: share of the channels that are set to zero before each linear layer while training, in [0, 1).

    Raises:
        DataError: a hidden layer of less than one channel, or a dropout outside [0, 1).

    >>> import torch
    >>> QualityHead(4)(torch.zeros(2, 4)).shape
    torch.Size([2])
    """

    def __init__(self, width: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden is not None and hidden < 1:
            raise DataError(f"a quality head with {hidden} hidden channels", hint="1 or more, or null for none")
        if not 0 <= dropout < 1:
            raise DataError(f"a dropout of {dropout}", hint="at least 0 and below 1")
        before = [nn.Dropout(dropout), nn.Linear(width, hidden), nn.GELU()] if hidden else []
        self.layers = nn.Sequential(*before, nn.Dropout(dropout), nn.Linear(hidden or width, 1))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C) to (B,) scores, in float32 at least."""
        scores: Tensor = self.layers(feature)
        return at_least_single(scores.squeeze(1))
