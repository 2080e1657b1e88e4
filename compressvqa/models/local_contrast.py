"""Pictures as local contrast, which shows what a codec or a lens did and hides much of what is seen."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WINDOW = 7
STEP = 1 / 255  # keeps the noise of flat regions small


class LocalContrast(nn.Module):
    """Each value minus the mean about it, divided by the deviation about it; holds no parameters.

    (I - mu) / (sigma + C) with mu and sigma over 7x7 pixels of a channel and C one step of 8 bits: L. Kang, P. Ye,
    Y. Li, D. Doermann, "Convolutional Neural Networks for No-Reference Image Quality Assessment", CVPR 2014, equation
    1, after A. Mittal, A. Moorthy, A. Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", 2012.
    Networks that begin with random weights learn quality from far fewer contents so.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same shape, about zero."""
        values = images.float()  # differences of 1/255 do not survive half precision
        mean = _about(values)
        deviation = _about((values - mean).square()).sqrt()
        contrast: Tensor = (values - mean) / (deviation + STEP)
        return contrast.to(images.dtype)


def _about(values: Tensor) -> Tensor:
    """The mean over the window, at the border over what is there of it."""
    return functional.avg_pool2d(values, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
