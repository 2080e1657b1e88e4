"""Networks that others wrote, called as ours are: an image metric on every frame, a video network on the whole clip.

A registration function of a few lines is all that a network of one's own needs:

    @cv.register_model("my-cnniqa", mode="NR")
    def cnniqa() -> nn.Module:
        '''CNNIQA on every frame.'''
        return PerFrame(cv.create_model("pyiqa/cnniqa"))
"""

from __future__ import annotations

import difflib
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.view import Fit, View

Order = Literal["reference-first", "distorted-first"]


class _Wrapped(nn.Module):
    """What both have: a view of each clip, the order of the two, and the direction of the score."""

    def __init__(self, network: nn.Module, view: View, order: Order, lower_is_better: bool) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise DataError(f"{type(network).__name__} is not a torch.nn.Module")
        if order not in get_args(Order):
            near = difflib.get_close_matches(str(order), get_args(Order), n=1, cutoff=0.5)
            raise DataError(f"there is no order {order!r}", hint=", ".join(near or get_args(Order)))
        self.view, self.network, self.order, self.lower_is_better = view, network, order, lower_is_better

    def _seen(self, clips: tuple[Tensor, ...]) -> list[Tensor]:
        if len(clips) not in (1, 2):
            raise DataError(f"called with {len(clips)} clips", hint="one or two clips: the distorted one, last")
        if any(clip.shape != clips[0].shape for clip in clips):  # the network might broadcast them in silence
            shapes = " and ".join(str(tuple(clip.shape)) for clip in clips)
            raise DataError(f"clips of shapes {shapes} differ")
        return [self.view(clip) for clip in clips]

    def _called(self, *inputs: Tensor) -> Tensor:
        """(N,) scores of N inputs in the network's own layout, reference first; higher is better."""
        count = inputs[0].shape[0]
        found = self.network(*(inputs if self.order == "reference-first" else reversed(inputs)))
        name = type(self.network).__name__
        if not isinstance(found, Tensor):
            raise DataError(f"{name} returns a {type(found).__name__}, not a tensor of scores")
        if found.numel() != count:
            raise DataError(
                f"{name} returns {tuple(found.shape)} for {count} inputs: one score for each is needed",
                hint="at_once=1 where it gives one number for a whole batch" if found.numel() == 1 else None,
            )
        scores = found.reshape(count)
        return -scores if self.lower_is_better else scores


class PerFrame(_Wrapped):
    """An image metric or network as one of clips: the mean of its scores over frames.

    Called ``model(distorted)``, or ``model(reference, distorted)`` where the network takes two images; clips are
    (B, T, 3, H, W), RGB in [0, 1]. Returns (B,) scores, higher is better.

    Args:
        network: called with one or two (N, 3, H, W) of N frames; returns a score for each, (N,), (N, 1) or the like. It
            is given pictures in [0, 1] unless `normalise`.
        order: which of two images the network takes first: all of pyiqa's "distorted-first", ours "reference-first".
        lower_is_better: the network's score counts distortion, as a distance does: its sign is turned.
        frames: frames that are looked at, evenly spread over the clip; of a shorter clip, each once. None: all.
        size: height and width in pixels that frames are brought to. None: as the clip is.
        fit: how frames are brought to that size: "short-side", "squeeze" or "crop" (`View`).
        normalise: give the network pictures normalised as for ImageNet.
        at_once: frames that the network is called with together, for memory's sake. None: all.

    Raises:
        DataError: no such order, or a number below 1; (when called) the network does not return one score a frame.

    >>> class Brightness(nn.Module):
    ...     def forward(self, images: Tensor) -> Tensor:
    ...         return images.mean(dim=(1, 2, 3))
    >>> PerFrame(Brightness(), lower_is_better=True)(torch.ones(2, 5, 3, 8, 8)).tolist()
    [-1.0, -1.0]
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        order: Order = "reference-first",
        lower_is_better: bool = False,
        frames: int | None = None,
        size: int | None = None,
        fit: Fit = "short-side",
        normalise: bool = False,
        at_once: int | None = None,
    ) -> None:
        view = View(frames, size, fit=fit, normalise=normalise, repeat=False)
        super().__init__(network, view, order, lower_is_better)
        if at_once is not None and at_once < 1:
            raise DataError(f"{at_once} frames at once", hint="1 or more, or null for all")
        self.at_once = at_once

    def forward(self, *clips: Tensor) -> Tensor:
        """One or two (B, T, 3, H, W) in [0, 1], the distorted clip last, to (B,) scores."""
        seen = self._seen(clips)
        frames = [clip.flatten(0, 1) for clip in seen]
        if self.at_once is None:
            scores = self._called(*frames)
        else:
            parts = zip(*(torch.split(clip, self.at_once) for clip in frames), strict=True)
            scores = torch.cat([self._called(*part) for part in parts])
        return scores.reshape(seen[0].shape[:2]).mean(dim=1)


class WholeClip(_Wrapped):
    """A video network with another layout or direction than ours.

    Called ``model(distorted)``, or ``model(reference, distorted)`` where the network takes two clips; clips are
    (B, T, 3, H, W), RGB in [0, 1]. Returns (B,) scores, higher is better.

    Args:
        network: called with one or two clips, (B, 3, T, H, W) or, with ``channels_first=False``, (B, T, 3, H, W);
            returns a score for each, (B,), (B, 1) or the like. It is given pictures in [0, 1] unless `normalise`.
        channels_first: whether the network takes the channels before the frames, as 3D convolutions do.
        order: which of two clips the network takes first.
        lower_is_better: the network's score counts distortion: its sign is turned.
        frames: frames that are looked at, evenly spread over the clip; a shorter clip repeats frames. None: all.
        size: height and width in pixels that frames are brought to. None: as the clip is.
        fit: how frames are brought to that size: "short-side", "squeeze" or "crop" (`View`).
        normalise: give the network pictures normalised as for ImageNet.

    Raises:
        DataError: no such order, or a number below 1; (when called) the network does not return one score a clip.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        channels_first: bool = True,
        order: Order = "reference-first",
        lower_is_better: bool = False,
        frames: int | None = None,
        size: int | None = None,
        fit: Fit = "short-side",
        normalise: bool = False,
    ) -> None:
        super().__init__(network, View(frames, size, fit=fit, normalise=normalise), order, lower_is_better)
        self.channels_first = channels_first

    def forward(self, *clips: Tensor) -> Tensor:
        """One or two (B, T, 3, H, W) in [0, 1], the distorted clip last, to (B,) scores."""
        seen = self._seen(clips)
        return self._called(*(clip.transpose(1, 2) if self.channels_first else clip for clip in seen))
