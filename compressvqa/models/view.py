"""What a no-reference network looks at of a clip: some of its frames, resized or cropped to the size that it knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressvqa.errors import DataError

Fit = Literal["short-side", "squeeze", "crop"]
# Mean and standard deviation of red, green and blue that most published backbones were trained with (ImageNet).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class View(nn.Module):
    """Samples frames, brings them to one size and normalises them; holds no parameters.

    A clip that is already of that size and length passes as it is, so that a data set may do the work beforehand.

    Args:
        frames: frames that are looked at, evenly spread over the clip (the middle of each of so many equal parts, as
            in temporal segment networks). None: all of them.
        size: height and width in pixels. None: as the clip is.
        fit: "short-side" scales the short side to `size` and takes the middle square; "squeeze" scales both sides to
            `size`; "crop" takes the middle square without scaling, which keeps distortions as they are (a smaller
            picture is scaled up first).
        normalise: subtract `mean` and divide by `deviation`.
        mean: of red, green and blue, in [0, 1]; by default ImageNet's.
        deviation: likewise.
        repeat: whether a shorter clip repeats frames until there are so many; else each of its frames is seen once.

    Raises:
        DataError: a number below 1, no such fit; (when called) no floating-point clip (B, T, 3, H, W).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        frames: int | None = 8,
        size: int | None = 224,
        *,
        fit: Fit = "short-side",
        normalise: bool = True,
        mean: Sequence[float] = MEAN,
        deviation: Sequence[float] = DEVIATION,
        repeat: bool = True,
    ) -> None:
        super().__init__()
        if (frames is not None and frames < 1) or (size is not None and size < 1):
            raise DataError(f"a view of {frames} frames of {size} pixels", hint="1 or more, or null")
        if fit not in get_args(Fit):
            near = difflib.get_close_matches(str(fit), get_args(Fit), n=1, cutoff=0.5)
            raise DataError(f"there is no fit {fit!r}", hint=", ".join(near or get_args(Fit)))
        self.frames, self.size, self.fit, self.normalise, self.repeat = frames, size, fit, normalise, repeat
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(tuple(deviation)).view(3, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        """(B, T, 3, H, W) in [0, 1] to (B, frames, 3, size, size), normalised."""
        if clip.ndim != 5 or clip.shape[2] != 3 or 0 in clip.shape:
            raise DataError(f"a clip of shape {tuple(clip.shape)} is not (batch, frames, 3, height, width)")
        if not clip.is_floating_point():
            raise DataError(f"a clip of {clip.dtype} is not floating point in [0, 1]", hint="divide by 255")
        seen = self._fitted(self._sampled(clip))
        return (seen - self.mean) / self.deviation if self.normalise else seen

    def _sampled(self, clip: Tensor) -> Tensor:
        length = clip.shape[1]
        if self.frames is None or self.frames == length or (length < self.frames and not self.repeat):
            return clip
        return clip[:, [(2 * number + 1) * length // (2 * self.frames) for number in range(self.frames)]]

    def _fitted(self, clip: Tensor) -> Tensor:
        size = self.size
        height, width = clip.shape[3:]
        if size is None or (height, width) == (size, size):
            return clip
        if self.fit == "squeeze":
            return _scaled(clip, size, size)
        short = min(height, width)
        if self.fit == "short-side" or short < size:
            # In integers, as a tracer's sizes can't be rounded; the long side is cut as torchvision's resize cuts it.
            height, width = (side * size // short for side in (height, width))
            clip = _scaled(clip, height, width)
        top, left = (height - size) // 2, (width - size) // 2
        return clip[..., top : top + size, left : left + size]


def _scaled(clip: Tensor, height: int, width: int) -> Tensor:
    batch, frames = clip.shape[:2]
    # In single precision: half precision would round away differences of 1/255.
    pictures = clip.flatten(0, 1).float()
    scaled = functional.interpolate(pictures, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.clamp(0, 1).to(clip.dtype).reshape(batch, frames, 3, height, width)
