"""RankDVQA worked through from the top of the picture to the bottom, a strip of rows at a time.

The whole picture's maps never exist: a convolution needs one row above and one below, so each layer keeps the last rows
of what it was given until the next strip comes. Nothing is computed twice, and every number is the one that the network
itself computes for the whole picture. On the way the graph is rewritten without changing what it says:

- the range shift goes into the first convolution's weights, once the grey that it maps to zero is taken off;
- features are made unit length once a file, as x * rsqrt(sum x^2), not once a comparison;
- what `conv_in` sees of the reference alone is worked out once for all its distorted files;
- `conv_out`, `head` and the mean over the picture are linear: together they are one weight for each value of each
  position, the same everywhere but at the picture's borders;
- stages that no scale reads are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from compressvqa.models.rankdvqa_parts import WINDOW, Compare, Extractor, RangeShift, Scale
from compressvqa.torch_private import has_hooks

ROWS = 128  # of a strip: a whole number of windows at the fifth scale, whose rows stand for 32 of the picture
REFLECTED = 4  # rows that a scale must see of a strip, since the last ones are reflected below the picture


@dataclass(frozen=True)
class Place:
    """Where a strip lies. Strips of one place and height are worked through alike.

    Args:
        first: at the top.
        last: at the bottom.
        second: below the first, of which coarse scales may have seen too few rows to fill a window.
    """

    first: bool
    last: bool
    second: bool = False


class Rows:
    """RankDVQA's score of one block of frames, strip by strip.

    Args:
        network: a RankDVQA, also a pruned one.
        height: of the picture.
        width: likewise.
        rows: of a strip, a multiple of `ROWS`; the last strip is up to twice as high.
        at_once: frames that are worked through together, a divisor of the network's frames.

    Attributes:
        scales: how many scales there are.
        groups: how many groups of frames.
        strips: (first row, rows, place) of each strip.
    """

    def __init__(self, network: nn.Module, height: int, width: int, rows: int = ROWS, at_once: int = 4) -> None:
        self.height, self.width, self.scales = height, width, len(cast(Any, network).scales)
        frames = int(cast(Any, network).frames)
        self.at_once = at_once if frames % at_once == 0 else frames
        self.groups = frames // self.at_once
        count = max(1, height // rows)
        tops = [number * rows for number in range(count)]
        self.strips = [
            (
                top,
                (tops[number + 1] if number + 1 < count else height) - top,
                Place(number == 0, number + 1 == count, number == 1),
            )
            for number, top in enumerate(tops)
        ]
        self._network = network
        self._made: dict[tuple[str, Place, int], nn.Module] = {}

    def step(self, kind: str, place: Place, group: int = 0) -> nn.Module:
        """The work on one strip: a function of tensors, and of what it kept of the strip before.

        - "features": ``(rows, *kept) -> (*features, *kept)`` of a group of frames, (T, C, n, w) for each scale; `rows`
          are (T, 3, 1 + n, width), RGB in [0, 1] of the strip and of the row above it, of any value at the top
        - "merge": ``(*features of the reference, *kept) -> (*merged, *kept)``, what `conv_in` sees of a group of its
          frames; the sum over groups counts
        - "pair": ``(*features of the reference, *features of a distorted file, *kept) -> (*merged, *kept)``, what it
          sees of the distorted frames and of the differences, to be added to that
        - "finish": ``(*merged, *kept) -> (part, *kept)``, the strip's part of the score, 0-d
        - "all": ``(rows of the reference, of a distorted file, *kept) -> (part, *kept)``, all of this for one pair; one
          group holds all frames

        Args:
            kind: one of these.
            place: of the strip.
            group: number of the group of frames, where the weights differ ("merge", "pair").
        """
        key = (kind, place, group)
        if key not in self._made:
            frames = range(group * self.at_once, (group + 1) * self.at_once)
            settings = self._network, place, self.height, self.width
            kinds: dict[str, Callable[[], nn.Module]] = {
                "features": lambda: _Features(*settings),
                "merge": lambda: _Merge(*settings, frames),
                "pair": lambda: _Pair(*settings, frames),
                "finish": lambda: _Finish(*settings, self.strips[0][1]),
                "all": lambda: _All(*settings, frames, self.strips[0][1]),
            }
            self._made[key] = kinds[kind]()
        return self._made[key]


def follows_rows(network: nn.Module) -> bool:
    """Whether a RankDVQA is still what `Rows` takes it for: of any widths, but without other layers or hooks."""
    given: Any = network
    try:
        scales = list(given.scales)
        stages = list(given.extractor.stages)[: len(scales)]  # pruning takes out what no scale reads
        layers = [(stage[0], 2, 3) for stage in stages] + [(stage[2], 1, 3) for stage in stages]
        layers += [(layer, 1, 3) for scale in scales for layer in (scale.conv_in, scale.conv_out)]
        layers += [(scale.head, 1, 1) for scale in scales]
        plain = all(_is_plain(*layer) for layer in layers)
        bent = [layer for stage in stages for layer in (stage[1], stage[3])]
        plain &= all(type(layer) is nn.LeakyReLU and layer.negative_slope == 0.1 for layer in bent)
        plain &= all(len(stage) == 4 for stage in stages)
        fits = [
            3 * given.frames * stage[2].out_channels == scale.conv_in.in_channels
            for stage, scale in zip(stages, scales, strict=True)
        ]
        plain &= type(given.range_shift) is RangeShift and type(given.extractor) is Extractor
        plain &= all(type(scale) is Scale and type(scale.compare) is Compare for scale in scales)
    except (AttributeError, IndexError, TypeError, ValueError):
        return False
    changed = any(has_hooks(m) or "forward" in vars(m) for m in network.modules())
    return plain and all(fits) and len(scales) > 0 and not changed


def _is_plain(layer: Any, stride: int, side: int) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    wanted = ((side, side), (stride, stride), (side // 2, side // 2), (1, 1), 1, "zeros")
    return type(layer) is nn.Conv2d and shape == wanted


def _map_sizes(height: int, width: int, scales: int) -> list[tuple[int, int]]:
    sizes = []
    for _ in range(scales):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def _rows_of_first(rows: int, scales: int) -> list[int]:
    """Rows that `conv_in` makes of the first strip at each scale.

    >>> _rows_of_first(128, 5)
    [62, 29, 13, 5, 1]
    """
    found = []
    for _ in range(scales):
        rows = rows // 2 - 1
        found.append(rows - 1)
    return found


class _Features(nn.Module):
    """The extractor on a strip: features of unit length for each scale."""

    weight: Tensor
    grey: Tensor

    def __init__(self, network: Any, place: Place, height: int, width: int) -> None:
        super().__init__()
        self.place, self.height = place, height
        self.count = len(network.scales)
        self.stages = nn.ModuleList(list(network.extractor.stages)[: self.count])
        shift, first = network.range_shift, self.stages[0][0]  # type: ignore[index]
        weight = first.weight * (2 / shift.scale)[None]
        grey = (1 + shift.shift) / 2  # what the range shift maps to zero, which is what the convolution pads with
        if shift.flip:
            weight, grey = weight.flip(1), grey.flip(0)
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("grey", grey)

    def forward(self, rows: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        """See `Rows.step`."""
        rows = rows - self.grey
        if self.place.first:
            rows = torch.cat([torch.zeros_like(rows[:, :, :1]), rows[:, :, 1:]], 2)
        if self.place.last and self.height % 2:
            rows = nn.functional.pad(rows, (0, 0, 0, 1))
        maps, keep = [], []
        held = iter(kept)
        for number, stage in enumerate(self.stages):
            layers: Any = stage
            one, two = layers[0], layers[2]
            if number == 0:
                rows = nn.functional.conv2d(rows, self.weight, one.bias, stride=2, padding=(0, 1))
            else:
                rows, left = _convolved(rows, one, 2, next(held, None), self.place)
                keep.append(left)
            rows = nn.functional.leaky_relu_(rows, 0.1)
            rows, left = _convolved(rows, two, 1, next(held, None), self.place)
            keep.append(left)
            rows = nn.functional.leaky_relu_(rows, 0.1)
            energy = rows.square().sum(1, keepdim=True)
            maps.append(rows * energy.clamp_min(torch.finfo(torch.float32).tiny).rsqrt())
        return (*maps, *([] if self.place.last else keep))


def _convolved(rows: Tensor, layer: Any, stride: int, kept: Tensor | None, place: Place) -> tuple[Tensor, Tensor]:
    """A 3x3 convolution of the rows that can be worked out by now, and the rows that the next ones need."""
    blank = torch.zeros_like(rows[:, :, :1])
    above = blank if kept is None or place.first else kept
    seen = torch.cat([above, rows, *([blank] if place.last else [])], 2)
    made = nn.functional.conv2d(seen, layer.weight, layer.bias, stride=stride, padding=(0, 1))
    return made, seen[:, :, made.shape[2] * stride :].clone()


class _ConvIn(nn.Module):
    """The part of the `conv_in` of one scale that sees one of the three maps of some frames."""

    weight: Tensor

    def __init__(self, scale: Any, network: Any, part: int, place: Place, size: tuple[int, int], frames: range) -> None:
        super().__init__()
        self.place, (height, width) = place, size
        self.below, self.right = -height % WINDOW, -width % WINDOW
        weight = scale.conv_in.weight.detach()
        weight = weight.reshape(len(weight), network.frames, 3, -1, 3, 3)[:, frames.start : frames.stop, part]
        self.register_buffer("weight", weight.flatten(1, 2).contiguous())
        self.bias = scale.conv_in.bias if part == 0 and frames.start == 0 else None

    def forward(self, rows: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """(T, C, rows, width) to (1, merge width, rows, padded width), and what the next strip needs."""
        rows = rows.reshape(1, -1, *rows.shape[2:])
        if self.right:
            rows = nn.functional.pad(rows, (0, self.right, 0, 0), mode="reflect")
        blank = torch.zeros_like(rows[:, :, :1])
        above = blank if kept is None or self.place.first else kept
        reflected = [rows[:, :, -1 - row : rows.shape[2] - row] for row in range(1, 1 + self.below)]
        seen = torch.cat([above, rows, *([*reflected, blank] if self.place.last else [])], 2)
        made = nn.functional.conv2d(seen, self.weight, self.bias, padding=(0, 1))
        return made, seen[:, :, made.shape[2] :].clone()


class _Merge(nn.Module):
    """What the `conv_in` of every scale sees of some frames of the reference alone."""

    def __init__(self, network: Any, place: Place, height: int, width: int, frames: range) -> None:
        super().__init__()
        self.place, self.parts = place, _conv_ins(network, 0, place, height, width, frames)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See `Rows.step`."""
        count = len(self.parts)
        maps, kept = tensors[:count], tensors[count:]
        found = [
            part(one, kept[number] if kept else None)
            for number, (part, one) in enumerate(zip(self.parts, maps, strict=True))
        ]
        return (*(made for made, _ in found), *([] if self.place.last else [left for _, left in found]))


class _Pair(nn.Module):
    """What it sees of some frames of a distorted file, and of their differences from the reference."""

    def __init__(self, network: Any, place: Place, height: int, width: int, frames: range) -> None:
        super().__init__()
        self.place = place
        self.of_distorted = _conv_ins(network, 1, place, height, width, frames)
        self.of_difference = _conv_ins(network, 2, place, height, width, frames)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See `Rows.step`."""
        n = len(self.of_distorted)
        kept = tensors[2 * n :]
        merged, keep = [], []
        for number, (one, other) in enumerate(zip(self.of_distorted, self.of_difference, strict=True)):
            reference, distorted = tensors[number], tensors[n + number]
            made, left = one(distorted, kept[2 * number] if kept else None)
            more, left_of_difference = other((reference - distorted).abs_(), kept[2 * number + 1] if kept else None)
            merged.append(made + more)
            keep += [left, left_of_difference]
        return (*merged, *([] if self.place.last else keep))


def _conv_ins(network: Any, part: int, place: Place, height: int, width: int, frames: range) -> nn.ModuleList:
    sizes = _map_sizes(height, width, len(network.scales))
    return nn.ModuleList(
        _ConvIn(scale, network, part, place, size, frames) for scale, size in zip(network.scales, sizes, strict=True)
    )


class _Finish(nn.Module):
    """What comes after `conv_in`, on a strip of all scales."""

    def __init__(self, network: Any, place: Place, height: int, width: int, rows: int) -> None:
        super().__init__()
        sizes = _map_sizes(height, width, len(network.scales))
        self.place = place
        self.scales = nn.ModuleList(
            _FinishScale(scale, place, size, place.first or (place.second and seen < WINDOW))
            for scale, size, seen in zip(network.scales, sizes, _rows_of_first(rows, len(sizes)), strict=True)
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See `Rows.step`."""
        n = len(self.scales)
        kept = tensors[n:]
        found = [scale(tensors[number], kept[number] if kept else None) for number, scale in enumerate(self.scales)]
        part = torch.stack([total for total, _ in found]).sum()
        return (part, *([] if self.place.last else [left for _, left in found]))


class _All(nn.Module):
    """All steps of one pair, for runtimes that would rather compile one graph than many."""

    def __init__(self, network: Any, place: Place, height: int, width: int, frames: range, rows: int) -> None:
        super().__init__()
        settings = network, place, height, width
        self.features, self.merge = _Features(*settings), _Merge(*settings, frames)
        self.pair, self.finish = _Pair(*settings, frames), _Finish(*settings, rows)
        scales = len(network.scales)
        features = 2 * scales - 1  # the first convolution is given the row above
        self.scales, self.kept = scales, [features, features, scales, 2 * scales, scales]

    def forward(self, reference: Tensor, distorted: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        """See `Rows.step`."""
        held = list(kept)
        parts = [[held.pop(0) for _ in range(count)] if held else [] for count in self.kept]
        n = self.scales
        left = self.features(reference, *parts[0])
        right = self.features(distorted, *parts[1])
        merged = self.merge(*left[:n], *parts[2])
        pair = self.pair(*left[:n], *right[:n], *parts[3])
        rows = [one + more for one, more in zip(merged[:n], pair[:n], strict=True)]
        done = self.finish(*rows, *parts[4])
        return (done[0], *left[n:], *right[n:], *merged[n:], *pair[n:], *done[1:])


class _FinishScale(nn.Module):
    """One scale of it."""

    def __init__(self, scale: Any, place: Place, size: tuple[int, int], top: bool) -> None:
        super().__init__()
        self.place, (self.height, self.width), self.top = place, size, top
        self.attention, self.mlp = scale.attention, scale.mlp
        head = scale.head.weight.detach().double().flatten(1)  # (1, C)
        kernel = (head @ scale.conv_out.weight.detach().double().flatten(1)).reshape(-1, 3, 3)
        self.register_buffer("kernel", kernel / (self.height * self.width))
        bias = 0.0 if scale.conv_out.bias is None else float(head @ scale.conv_out.bias.detach().double())
        self._known: dict[tuple[int, int], Tensor] = {}
        self.bias = bias + (0.0 if scale.head.bias is None else float(scale.head.bias))

    def forward(self, rows: Tensor, left: Tensor | None) -> tuple[Tensor, Tensor]:
        """This strip's part of the scale's mean, and the rows that fill no window yet."""
        if left is not None and not self.place.first:
            rows = torch.cat([left, rows], 2)
        whole = rows.shape[2] // WINDOW * WINDOW
        total = rows.new_full((), self.bias if self.place.first else 0.0)
        if whole:
            tokens = _to_windows(rows[:, :, :whole])
            tokens = tokens + self.attention(tokens)
            tokens = tokens + self.mlp(tokens)
            total = total + (tokens * self._weights(whole, rows.shape[3])).sum()
        return total, rows[:, :, whole:].clone()

    def _weights(self, rows: int, columns: int) -> Tensor:
        """`_weigh` in windows, kept from strip to strip."""
        if torch.compiler.is_compiling():  # what is made then stands for numbers, and is none
            return self._weigh(rows, columns)
        if (rows, columns) not in self._known:
            self._known[rows, columns] = self._weigh(rows, columns)
        return self._known[rows, columns]

    def _weigh(self, rows: int, columns: int) -> Tensor:
        """What each value of each position of these rows adds to the mean of `head(conv_out(...))`, (windows, 16, C).

        A position adds to the output above it, to its own and to the one below, where these are in the picture.
        """
        down = torch.ones(3, rows, dtype=torch.float64)
        if self.top:
            down[2, 0] = 0  # the output above the first row
        if self.place.last:  # the last row of these is the last of the padded map
            first = -(-self.height // WINDOW) * WINDOW - rows
            for tap in range(3):
                down[tap, max(0, self.height - 1 + tap - first) :] = 0
        across = torch.ones(3, columns, dtype=torch.float64)
        across[2, 0] = 0
        for tap in range(3):
            across[tap, self.width - 1 + tap :] = 0
        weights = torch.einsum("cyx,yr,xs->crs", cast(Tensor, self.kernel), down, across)
        return _to_windows(weights[None].to(self.attention.proj.weight.dtype))


def _to_windows(rows: Tensor) -> Tensor:
    """(1, C, h, w) to (windows, 16, C)."""
    _, channels, height, width = rows.shape
    cut = rows.reshape(channels, height // WINDOW, WINDOW, width // WINDOW, WINDOW)
    return cut.permute(1, 3, 2, 4, 0).reshape(-1, WINDOW * WINDOW, channels)
