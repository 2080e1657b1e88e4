"""In what the colours of two files differ, and what is done about it."""

from __future__ import annotations

from compressvqa.video.difference import Difference
from compressvqa.video.form import agree, form_of
from compressvqa.video.info import VideoInfo
from compressvqa.video.matrices import TITLES


def differ_in_colour(reference: VideoInfo, distorted: VideoInfo) -> list[Difference]:
    """Bit depth, chroma, range, matrix, primaries and transparency, where they differ. None of them is refused.

    Args:
        reference: facts of the reference.
        distorted: facts of the distorted file.
    """
    found: list[Difference] = []
    r, d = agree(reference, distorted)
    form = form_of(r, d)

    def differs(what: str, a: str, b: str, hint: str = "") -> None:
        if a != b:
            found.append(Difference(what, a, b, False, hint))

    differs("bit depth", str(r.colour.bitdepth), str(d.colour.bitdepth), f"both are compared at {form.bitdepth} bit")
    differs("chroma", ":".join(r.chroma), ":".join(d.chroma), "both are compared with the reference's chroma")
    if not (r.rgb or d.rgb):
        span = "full" if form.full_range else "limited"
        differs("range", _range(r), _range(d), f"each is read as its file says; both are compared in {span} range")
    differs("matrix", _matrix(reference), _matrix(distorted), _what_is_done(r, d, TITLES[form.matrix]))
    if r.gamut and d.gamut:
        differs(
            "primaries", r.gamut, d.gamut, "they are not converted: the same colours have other numbers, and score so"
        )
    if r.alpha or d.alpha:
        a, b = ("transparent" if info.alpha else "opaque" for info in (r, d))
        found.append(Difference("transparency", a, b, False, "transparency is dropped, and what lies under it is seen"))
    return found


def _range(info: VideoInfo) -> str:
    return "full" if info.colour.full_range else "limited"


def _matrix(info: VideoInfo) -> str:
    if info.rgb:
        return "RGB"
    if info.chroma == "400":
        return "grey"
    return TITLES[info.colour.matrix] if info.matrix_stated else "not said"


def _what_is_done(r: VideoInfo, d: VideoInfo, title: str) -> str:
    if "grey" in (_matrix(r), _matrix(d)):
        return ""
    silent = [name for name, info in (("the reference", r), ("the distorted video", d)) if _matrix(info) == "not said"]
    if silent and not (r.rgb or d.rgb):
        return f"{silent[0]} names no matrix and is read by {title}, as the other one is"
    if silent:
        return f"{silent[0]} names no matrix and is read by {title}, as its height suggests"
    return f"each is read as its file says; metrics of luma compare both in {title}"
