"""Matrices of Y'CbCr and its kin: which luma and chroma each makes of RGB, and how one becomes another.

ITU-T H.273, table 4. In all of them grey has neutral chroma and R = G = B = luma, so that two matrices differ in two
things only: what chroma adds to luma, and how the two chroma signals mix. Chroma is never taken apart for that.
"""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m", "ycgco"]
Weights: TypeAlias = npt.NDArray[np.float64]

# Kr and Kb of each standard; Kg is what is left to 1. YCgCo is not of this kind: the reader hands it on as BT.709.
LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
TITLES: dict[Matrix, str] = {
    "bt601": "BT.601", "bt709": "BT.709", "bt2020": "BT.2020", "fcc": "FCC", "smpte240m": "SMPTE 240M",
    "ycgco": "YCgCo",
}  # fmt: skip
# What H.273 numbers them. Systems B/G and M of BT.601 are one matrix.
BY_NUMBER: dict[int, Matrix] = {
    1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020",
}  # fmt: skip
# Not linear, or of signals that are no Y'CbCr: refused.
UNREAD: dict[int, str] = {
    10: "BT.2020 constant luminance", 11: "SMPTE 2085", 12: "chroma-derived", 13: "chroma-derived constant luminance",
    14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip


@functools.cache
def encoding(matrix: Matrix) -> Weights:
    """(3, 3): rows make luma (0..1) and the two chroma signals (-.5 to .5) of R, G, B in [0, 1].

    >>> encoding("bt601")[0]
    array([0.299, 0.587, 0.114])
    """
    if matrix == "ycgco":
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    return np.stack(
        [luma, (np.array([0, 0, 1.0]) - luma) / (2 * (1 - kb)), (np.array([1.0, 0, 0]) - luma) / (2 * (1 - kr))]
    )


@functools.cache
def chroma_to_rgb(matrix: Matrix) -> Weights:
    """(3, 2): what each chroma signal adds to luma to make R, G and B."""
    return np.asarray(np.linalg.inv(encoding(matrix))[:, 1:], np.float64)


@functools.cache
def between(source: Matrix, target: Matrix) -> Weights:
    """(3, 2): what each chroma signal of `source` adds to luma, and to the two chroma signals of `target`.

    >>> bool(np.allclose(between("bt601", "bt601"), [[0, 0], [1, 0], [0, 1]]))
    True
    """
    return encoding(target) @ chroma_to_rgb(source)
