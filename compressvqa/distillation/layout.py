"""Where a map holds its channels: second, as convolutions leave them, or last, as transformers do."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from compressvqa.errors import TrainingError
from compressvqa.torch_private import BATCH_OR_INSTANCE_NORM, CONVOLUTION

Channels = Literal["auto", "second", "last"]

_CHANNELS_SECOND = (CONVOLUTION, BATCH_OR_INSTANCE_NORM, nn.GroupNorm)


class Layout:
    """Brings the outputs of one module to (N, C, ...).

    - ``second``: outputs are (N, C, ...) and stay as they are.
    - ``last``: outputs are (N, ..., C), such as tokens (N, L, C).
    - ``auto``: the axis that is as long as the module's last parameter, which belongs to its last convolution, linear
      layer or norm. So the blocks of a ViT (N, L, C), of a Swin (N, H, W, C) and of a ConvNeXt (N, C, H, W) are all
      read rightly. Where both axes are as long, channels are second if there is a convolution in the module, and last
      if there are only linear layers. Where neither is (no parameters, for example), three axes are read as (N, L, C)
      and more as (N, C, ...).

    Args:
        module: the module whose outputs are read.
        channels: the rule.

    >>> import torch
    >>> tokens = nn.Linear(4, 6)(torch.zeros(2, 10, 4))
    >>> tuple(Layout(nn.Linear(4, 6), "auto")(tokens).shape)
    (2, 6, 10)
    """

    def __init__(self, module: nn.Module, channels: Channels) -> None:
        self.channels, self.width = channels, 0
        for parameter in module.parameters():
            self.width = len(parameter) if parameter.ndim else 0
        self.convolves, self.mixes = (
            any(isinstance(part, kinds) for part in module.modules()) for kinds in (_CHANNELS_SECOND, nn.Linear)
        )

    def __call__(self, output: Tensor) -> Tensor:
        """The output with its channels second, a view.

        Raises:
            TrainingError: `auto` can't tell, because both axes are as long as the channels.
        """
        if output.ndim <= 2 or self.channels == "second":
            return output
        return output.movedim(-1, 1) if self.channels == "last" or self._last(output) else output

    def _last(self, output: Tensor) -> bool:
        second, last = (output.shape[axis] == self.width for axis in (1, -1))
        if second != last:
            return last
        if not second:
            return output.ndim == 3
        if not self.convolves and not self.mixes and output.ndim > 3:
            shape = tuple(output.shape)
            raise TrainingError(f"in {shape} the channels may be second or last", hint="channels: second, or last")
        return not self.convolves
