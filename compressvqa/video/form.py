"""The one form in which the pictures of a pair are compared: size, chroma, bit depth, matrix and range.

It depends on the two files and on nothing else: not on what other files are scored beside them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from compressvqa.video.frames import Chroma, Planes
from compressvqa.video.info import ONE_MATRIX, VideoInfo, default_matrix
from compressvqa.video.matrices import TITLES, Matrix
from compressvqa.video.reformat import Reformatter

DEPTHS = (8, 10, 12, 16)


@dataclass(frozen=True)
class Form:
    """How both pictures of a pair are compared by metrics that look at luma and chroma.

    Args:
        height: the reference's.
        width: the reference's.
        chroma: the reference's; grey is compared as 4:2:0 with neutral chroma.
        bitdepth: the larger of the two files'; 16 where one of them is RGB, whose luma is no whole number of 8 bits.
        matrix: the reference's; where it has none of its own or names none, the distorted file's, else by its height.
        full_range: the reference's; RGB is compared in limited range.
        reference_depth: bit depth of the reference alone: what it scores against itself is what anything else can
            reach.
    """

    height: int
    width: int
    chroma: Chroma
    bitdepth: int
    matrix: Matrix
    full_range: bool
    reference_depth: int

    def __str__(self) -> str:
        span = "full" if self.full_range else "limited"
        kind = f"{':'.join(self.chroma)} {self.bitdepth} bit {TITLES[self.matrix]} {span} range"
        return f"{self.width}x{self.height} {kind}"

    def bring(self) -> Reformatter:
        """Brings pictures to this form."""
        return Reformatter(
            (self.height, self.width), chroma=self.chroma, bitdepth=self.bitdepth, full_range=self.full_range,
            matrix=self.matrix,
        )  # fmt: skip


def form_of(reference: VideoInfo, distorted: VideoInfo) -> Form:
    """The form of a pair, whose matrices `agree` has settled."""
    r, d = reference.handed_on, distorted.handed_on
    # Luma of a grey file can't be worked out by another matrix: the other file comes to it.
    order = [reference, distorted] if reference.chroma != "400" else [distorted, reference]
    order.sort(key=lambda info: not (_states(info) and info.chroma == "400"))
    matrix = next((info.handed_on.matrix for info in order if _has_matrix(info)), default_matrix(reference.height))
    depths = [next(depth for depth in DEPTHS if depth >= colour.bitdepth) for colour in (r, d)]
    chroma: Chroma = "420" if reference.chroma == "400" else reference.chroma
    return Form(reference.height, reference.width, chroma, max(depths), matrix, r.full_range, depths[0])


def agree(reference: VideoInfo, distorted: VideoInfo) -> tuple[VideoInfo, VideoInfo]:
    """Both with the matrix that they are read by: a file that names none has that of the other one.

    Where neither names one, players go by the height, and a small encode of a large reference is not of another matrix:
    the reference's height decides for both. JPEG and VP8 are of BT.601 then.
    """
    default = default_matrix(reference.height)
    if any(info.codec in ONE_MATRIX and _has_matrix(info) and not _states(info) for info in (reference, distorted)):
        default = "bt601"
    r = _read_by(reference, distorted.colour.matrix if _states(distorted) else default)
    return r, _read_by(distorted, r.colour.matrix if _has_matrix(r) else default)


def as_read(planes: Planes, info: VideoInfo) -> Planes:
    """Planes of a file that names no matrix, read by the one that `agree` gave it."""
    if _states(info) or not _has_matrix(info) or planes.colour.matrix == info.colour.matrix:
        return planes
    return replace(planes, colour=replace(planes.colour, matrix=info.colour.matrix))


def alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions of equal keys, in the order in which each first appears.

    >>> alike(["a", "b", "a"])
    [[0, 2], [1]]
    """
    found: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return list(found.values())


def _has_matrix(info: VideoInfo) -> bool:
    """RGB has none, and YCgCo's is not one that luma is compared in."""
    return not info.rgb and info.colour.matrix != "ycgco"


def _states(info: VideoInfo) -> bool:
    return info.matrix_stated and _has_matrix(info)


def _read_by(info: VideoInfo, matrix: Matrix) -> VideoInfo:
    if _states(info) or not _has_matrix(info):
        return info
    return replace(info, colour=replace(info.colour, matrix=matrix))
