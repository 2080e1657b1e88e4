"""Which of two patches is better, and how sure is that? Several labels and certain orders, as one answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compressvqa.data.orders import CertainOrders, Kind
from compressvqa.data.patches import PatchSet

Values: TypeAlias = npt.NDArray[np.float64]
Singles: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]
# What an undistorted patch is worth: the top of VMAF, and libvmaf's PSNR of two equal pictures of 8 bit.
TOPS = {"psnr_y": 60.0}
TOP = 100.0
# A just-noticeable difference is seen by three of four viewers: the logit of 3/4 is ln 3.
LOGIT_OF_JND = math.log(3)
# The least probability of a certain order. Where labels see no difference, few viewers would: not 1.
LEAST = 0.6


class Judge:
    """Says of any two patches with which probability the one is better, and how much that is to count.

    Args:
        patches: the set.
        labels: the first one decides; the others may object.
        gap: pairs whose first labels are nearer than this do not count, unless their order is certain.
        jnd: the difference of the first label that three of four viewers see; None: probabilities are 0 and 1.
        certain: which kinds of certain orders overrule the labels.
    """

    def __init__(
        self,
        patches: PatchSet,
        labels: Sequence[str],
        *,
        gap: float = 6.0,
        jnd: float | None = None,
        certain: Sequence[Kind] = (),
    ) -> None:
        self.gap, self.jnd = gap, jnd
        self.orders = CertainOrders(patches, certain)
        columns = [[math.nan if value is None else value for value in patches.label(name)] for name in labels]
        self._values: Values = np.array(columns, dtype=np.float64)
        self._tops: Values = np.array([TOPS.get(name, TOP) for name in labels])

    def __call__(self, rows: Rows) -> tuple[Singles, Singles]:
        """Probabilities and weights between each two of some patches.

        Args:
            rows: (n,) patches of the set, ``~r`` for reference r itself.

        Returns:
            two (n, n): the probability that the row's patch is better than the column's, 0.5 on the diagonal; and the
            weight in [0, 1], 0 where nobody knows or labels object, and on the diagonal.
        """
        values = self._of(rows)
        preferred = self._probability(values[0][:, None] - values[0][None, :])
        weight = self._weight(values[:, :, None] - values[:, None, :])
        known = self.orders.between(rows)
        least = 1.0 if self.jnd is None else LEAST
        preferred = np.where(known == 1, np.maximum(preferred, least), preferred)
        preferred = np.where(known == -1, np.minimum(preferred, 1 - least), preferred)
        preferred = np.where(known == 2, 0.5, preferred)
        weight = np.where(known != 0, 1.0, weight)
        np.fill_diagonal(preferred, 0.5)
        np.fill_diagonal(weight, 0.0)
        return preferred.astype(np.float32), weight.astype(np.float32)

    def agreement(self, row: int, others: Rows) -> Values:
        """The weights that the labels give to the pairs of one patch with others, (n,)."""
        weight: Values = self._weight(self._of(np.array([row])) - self._of(others))
        return weight

    def _of(self, rows: Rows) -> Values:
        """(labels, n) values of patches; an undistorted one has the top of each label."""
        found: Values = np.where(rows < 0, self._tops[:, None], self._values[:, np.where(rows < 0, 0, rows)])
        return found

    def _probability(self, difference: Values) -> Values:
        difference = np.nan_to_num(difference)
        if self.jnd is None:
            hard: Values = np.heaviside(difference, 0.5)
            return hard
        soft: Values = 1 / (1 + np.exp(-LOGIT_OF_JND / self.jnd * difference))
        return soft

    def _weight(self, differences: Values) -> Values:
        """(labels, ...) differences of labels to weights; a label that is not defined does not object."""
        first = differences[0]
        along = np.where(np.isnan(differences), np.abs(first), differences * np.sign(first))
        smallest, largest = along.min(0), along.max(0)
        agreed: Values = np.where(largest > 0, np.maximum(smallest, 0) / np.maximum(largest, 1e-9), 0.0)
        weight: Values = np.where(np.abs(first) >= self.gap, np.nan_to_num(agreed), 0.0)
        return weight
