"""Networks that are worked through strip by strip: memory for a few rows of a block, not for all its maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.deploy.runtime import Call, Prepared
from compressvqa.video.block import Frames

Compile = Callable[[nn.Module, tuple[Tensor, ...]], Call]
Strip = tuple[int, int, Any]  # first row, rows, place


class _Pictures:
    """RGB of strips, written to the same memory each time.

    Args:
        rows: of the network, see `compressvqa.models.rankdvqa_rows.Rows`.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._memory: dict[int, Tensor] = {}

    def strip(self, frames: Frames, strip: Strip, group: int, room: int = 0) -> Tensor:
        """A group of frames, with the row above the strip: (T, 3, 1 + rows, width); at the top any row is above."""
        top, height, _ = strip
        first, last = group * self._rows.at_once, len(frames) - 1
        # A short last block is filled up with its last frame.
        part = frames.at([min(number, last) for number in range(first, first + self._rows.at_once)])
        above = min(2, top)  # a rectangle begins on a chroma sample
        out = self._room(room, len(part), above + height)
        found = part.rgb(top - above, 0, above + height, out=out)[0]
        return found[:, :, 1:] if top else torch.cat([found[:, :, :1], found], 2)

    def _room(self, number: int, frames: int, rows: int) -> Tensor:
        count = frames * 3 * rows * self._rows.width
        if number not in self._memory or self._memory[number].numel() < count:
            self._memory[number] = torch.empty(count)
        return self._memory[number][:count].view(1, frames, 3, rows, self._rows.width)


class StripBlocks(Prepared):
    """Scores blocks strip by strip in PyTorch; the reference is worked through once for all distorted files.

    Args:
        rows: of the network, see `compressvqa.models.rankdvqa_rows.Rows`.
    """

    runtime = "eager"

    def __init__(self, rows: Any) -> None:
        self.rows, self._pictures = rows, _Pictures(rows)

    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """As `Prepared.partials`."""
        assert reference is not None
        sides = range(len(distorted))
        totals = [0.0 for _ in sides]
        kept = _Kept()
        with torch.inference_mode():
            for strip in self.rows.strips:
                merged: list[Tensor] = []
                of_pair: list[list[Tensor]] = [[] for _ in sides]
                for group in range(self.rows.groups):
                    seen = self._features(reference, strip, group, kept.of("features", "reference", group))
                    made = self._step("merge", strip, group, seen, kept.of("merge", "reference", group))
                    merged = _added(merged, made)
                    for side in sides:
                        other = self._features(distorted[side], strip, group, kept.of("features", side, group))
                        made = self._step("pair", strip, group, [*seen, *other], kept.of("pair", side, group))
                        of_pair[side] = _added(of_pair[side], made)
                for side in sides:
                    rows = [one + more for one, more in zip(merged, of_pair[side], strict=True)]
                    (part,) = self._step("finish", strip, 0, rows, kept.of("finish", side, 0), count=1)
                    totals[side] += float(part)
        return [torch.tensor(total).reshape(1, 1, 1) for total in totals]

    def _features(self, frames: Frames, strip: Strip, group: int, kept: list[Tensor]) -> list[Tensor]:
        """Of a group of frames, (T, C, rows, width) for each scale."""
        return self._step("features", strip, 0, [self._pictures.strip(frames, strip, group)], kept)

    def _step(
        self, kind: str, strip: Strip, group: int, inputs: list[Tensor], kept: list[Tensor], *, count: int | None = None
    ) -> list[Tensor]:
        """The first `count` results of a step; what it keeps for the next strip replaces what was kept."""
        found = self.rows.step(kind, strip[2], group)(*inputs, *kept)
        count = self.rows.scales if count is None else count
        kept[:] = found[count:]
        return list(found[:count])


class CompiledStrips(Prepared):
    """Scores blocks strip by strip, all steps of a pair in one graph, which is compiled when it is first needed.

    Args:
        rows: of the network, all frames in one group.
        compile_step: makes a function of a step and an example of its inputs.
        runtime: its name.
    """

    def __init__(self, rows: Any, compile_step: Compile, runtime: str) -> None:
        self.rows, self.runtime, self._pictures = rows, runtime, _Pictures(rows)
        self._compile = compile_step
        self._calls: dict[tuple[Any, ...], Call] = {}

    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """As `Prepared.partials`."""
        assert reference is not None
        with torch.inference_mode():
            return [torch.tensor(self._pair(reference, frames)).reshape(1, 1, 1) for frames in distorted]

    def _pair(self, reference: Frames, distorted: Frames) -> float:
        total, kept = 0.0, list[Tensor]()
        for strip in self.rows.strips:
            seen = [self._pictures.strip(frames, strip, 0, room) for room, frames in enumerate((reference, distorted))]
            given = (*seen, *kept)
            key = (strip[2], tuple(tuple(one.shape) for one in given))
            if key not in self._calls:
                self._calls[key] = self._compile(self.rows.step("all", strip[2]), given)
            part, *kept = self._calls[key](*given)
            total += float(part)
        return total


class _Kept:
    """What each step of each file keeps from strip to strip."""

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], list[Tensor]] = {}

    def of(self, *key: Any) -> list[Tensor]:
        """A list, empty at first, which the step changes."""
        return self._held.setdefault(key, [])


def _added(sums: list[Tensor], more: list[Tensor]) -> list[Tensor]:
    return [one + other for one, other in zip(sums, more, strict=True)] if sums else more
