"""The frames of one block of one file, as they were decoded; RGB is made of them where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compressvqa.video.frames import Planes


class Frames:
    """A run of frames of one size, either as planes in their own bit depth or as RGB.

    Planes are four to eight times smaller than RGB in float32: a run is handed on as planes, and what works on RGB asks
    for the part of the picture that it is about to work on.

    Args:
        planes: one picture a frame; they may differ in depth, chroma, matrix and range, and say so themselves.
        rgb: or (1, T, 3, H, W), float in [0, 1].

    >>> Frames(rgb=torch.zeros(1, 5, 3, 8, 10)).size, len(Frames(rgb=torch.zeros(1, 5, 3, 8, 10)))
    ((8, 10), 5)
    """

    def __init__(self, planes: Sequence[Planes] | None = None, *, rgb: Tensor | None = None) -> None:
        if (planes is None) == (rgb is None) or (planes is not None and not planes):
            raise ValueError("frames are either planes or RGB, and at least one")
        self.planes = None if planes is None else tuple(planes)
        self._rgb = rgb

    def __len__(self) -> int:
        return len(self.planes) if self.planes is not None else int(self._whole.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        if self.planes is not None:
            return self.planes[0].size
        return int(self._whole.shape[3]), int(self._whole.shape[4])

    @property
    def _whole(self) -> Tensor:
        assert self._rgb is not None
        return self._rgb

    def at(self, numbers: Sequence[int]) -> Frames:
        """Some of the frames, in this order; one may be named several times."""
        if self.planes is not None:
            return Frames([self.planes[number] for number in numbers])
        return Frames(rgb=self._whole[:, list(numbers)])

    def crop(self, top: int, left: int, height: int, width: int) -> Frames:
        """A rectangle of every frame, which begins on a chroma sample."""
        if (top, left, height, width) == (0, 0, *self.size):
            return self
        if self.planes is not None:
            return Frames([picture.crop(top, left, height, width) for picture in self.planes])
        return Frames(rgb=self._whole[..., top : top + height, left : left + width])

    def rgb(
        self,
        top: int = 0,
        left: int = 0,
        height: int | None = None,
        width: int | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """A rectangle of every frame as RGB, (1, T, 3, height, width), float32 in [0, 1].

        Args:
            top: first row; even, as is `left`: a rectangle begins on a chroma sample.
            left: first column.
            height: rows; None: to the bottom.
            width: columns; None: to the right edge.
            out: (1, T or more, 3, height, width), contiguous, to write to; RGB that is there already is not copied.
        """
        H, W = self.size
        high, wide = H - top if height is None else height, W - left if width is None else width
        if self.planes is None:
            return self._whole[..., top : top + high, left : left + wide]
        made = torch.empty((1, len(self), 3, high, wide)) if out is None else out[:, : len(self)]
        for number, picture in enumerate(self.planes):
            part = picture if (high, wide) == (H, W) else picture.crop(top, left, high, wide)
            part.to_rgb(out=made[0, number])
        return made
