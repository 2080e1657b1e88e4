"""Which blocks and patches of a video are scored where not all of it is: drawn by a seed, over space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressvqa.errors import DataError

SIDE = 192  # of a patch, in pixels: the coarsest scale of RankDVQA still sees six positions across
SHARE = 0.125  # of a picture's area that is looked at
EVERY = 2  # of so many blocks, one

Place = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Sampling:
    """A draw of blocks and patches; the same seed gives the same places in files of one size and length.

    Time is cut into runs of `every` blocks, of each of which one is drawn. In it patches are drawn so that each of as
    many stripes, across and down, has one (a Latin square): none of the picture is left to chance alone.

    Args:
        seed: of the draw.
        side: of a patch.
        share: of the picture's area in the patches of a block; at least two patches.
        every: blocks of which one is scored.

    Raises:
        DataError: a seed below 0.
    """

    seed: int
    side: int = SIDE
    share: float = SHARE
    every: int = EVERY

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"the seed {self.seed} of a sample is below 0", hint="0 or more")

    def takes(self, block: int, blocks: int | None) -> bool:
        """Whether a block is scored.

        Args:
            block: its number, from 0.
            blocks: how many there are; None: not known.
        """
        run, place = divmod(block, self.every)
        length = self.every if blocks is None else min(self.every, blocks - run * self.every)
        # Of a file of unknown length the first block is there for certain.
        drawn = 0 if blocks is None and run == 0 else int(self._dice(run, 0).integers(max(1, length)))
        return place == drawn

    def patches(self, block: int, height: int, width: int) -> list[Place]:
        """The patches of a block, all of one size; the whole picture where that is little more than two of them.

        Each begins on an even row and column, as chroma does.
        """
        high, wide = self.size(height, width)
        if (high, wide) == (height, width):
            return [(0, 0, height, width)]
        count = max(2, round(self.share * height * width / (high * wide)))
        dice = self._dice(block, 1)
        down = (np.arange(count) + dice.random(count)) / count
        across = (dice.permutation(count) + dice.random(count)) / count
        tops = (down * (height - high + 1)).astype(int) // 2 * 2
        lefts = (across * (width - wide + 1)).astype(int) // 2 * 2
        return [(int(top), int(left), high, wide) for top, left in zip(tops, lefts, strict=True)]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the patches of such a picture."""
        if height * width <= 2 * self.side**2:
            return height, width
        return min(self.side, height), min(self.side, width)

    def to_dict(self, height: int, width: int) -> dict[str, Any]:
        """What is said of it with a score."""
        places = self.patches(0, height, width)
        seen = sum(high * wide for _, _, high, wide in places) / (height * width)
        return {
            "seed": self.seed, "blocks": f"1 of {self.every}", "patches": len(places),
            "patch": list(places[0][2:]), "share_of_pixels": round(min(1.0, seen) / self.every, 4),
        }  # fmt: skip

    def _dice(self, *what: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *what))
