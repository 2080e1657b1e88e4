"""Which blocks and patches of a video are scored where not all of it is: drawn by a seed, over space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressvqa.errors import DataError

SIDE = 192  # of a patch, in pixels: the coarsest scale of RankDVQA still sees six positions across
SHARE = 0.125  # of a picture's area that is looked at
EVERY = 2  # of so many blocks, one
MOST = 32  # blocks of a file

Place = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Sampling:
    """A draw of blocks and patches; the same seed gives the same places in files of one size and length.

    Time is cut into runs of `every` blocks or more, of each of which one is drawn. In it patches are drawn so that each
    of as many stripes, across and down, has one (a Latin square): none of the picture is left to chance alone.

    Args:
        seed: of the draw.
        side: of a patch.
        share: of the picture's area in the patches of a block; at least two patches.
        every: blocks of which one is scored.
        most: blocks of a file that are scored at most: of longer files one of more than `every`.

    Raises:
        DataError: a seed below 0.
    """

    seed: int
    side: int = SIDE
    share: float = SHARE
    every: int = EVERY
    most: int = MOST

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"the seed {self.seed} of a sample is below 0", hint="0 or more")

    def takes(self, block: int, blocks: int | None) -> bool:
        """Whether a block is scored.

        Args:
            block: its number, from 0.
            blocks: how many there are; None: not known.
        """
        every = self.spacing(blocks)
        run, place = divmod(block, every)
        length = every if blocks is None else min(every, blocks - run * every)
        # Of a file of unknown length the first block is there for certain.
        drawn = 0 if blocks is None and run == 0 else int(self._dice(run, 0).integers(max(1, length)))
        return place == drawn

    def spacing(self, blocks: int | None) -> int:
        """Of how many blocks one is scored, of a file of so many."""
        return self.every if blocks is None else max(self.every, -(-blocks // self.most))

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

    def to_dict(self, height: int, width: int, blocks: int | None = None) -> dict[str, Any]:
        """What is said of it with a score of a file of such pictures and so many blocks."""
        places = self.patches(0, height, width)
        seen = sum(high * wide for _, _, high, wide in places) / (height * width)
        return {
            "seed": self.seed, "blocks": f"1 of {self.spacing(blocks)}", "patches": len(places),
            "patch": list(places[0][2:]), "share_of_pixels": round(min(1.0, seen) / self.spacing(blocks), 4),
        }  # fmt: skip

    def _dice(self, *what: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *what))
