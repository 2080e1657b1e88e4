"""In what the pictures of two files differ: how they are turned, their size and shape, fields, HDR."""

from __future__ import annotations

from compressvqa.video.clip import Pairing
from compressvqa.video.difference import Difference
from compressvqa.video.info import VideoInfo
from compressvqa.video.posture import SCANS

# Shapes nearer than this (relative) are one, rounded to whole pixels.
SAME_SHAPE = 0.02
# A side is padded by less than this to whole blocks of a coder.
BLOCK = 16


def differ_in_picture(r: VideoInfo, d: VideoInfo, pairing: Pairing) -> list[Difference]:
    """Rotation, frame size, shape, scan and transfer, where they differ; what can't be compared is marked as refused.

    Args:
        r: facts of the reference.
        d: facts of the distorted video.
        pairing: how the two are brought together.
    """
    found: list[Difference] = []
    turned = r.posture.title != d.posture.title
    if turned:
        hint = "--rotate auto turns both upright, as their files say"
        found.append(Difference("rotation", r.posture.title, d.posture.title, True, hint))
    sizes = [(one.height, one.width) if turned and one.posture.lies else (one.width, one.height) for one in (r, d)]
    # Turned apart, they are of one size if they are so stored, or so shown.
    alike = turned and (r.width, r.height) == (d.width, d.height)
    if sizes[0] != sizes[1] and not alike:
        found.append(_size(r, d, pairing, turned))
    shapes = [1 / one.shape if turned and one.posture.lies else one.shape for one in (r, d)]
    if abs(shapes[0] / shapes[1] - 1) > SAME_SHAPE and not alike:
        found.append(_shape(r, d, shapes, sizes))
    if r.scan != d.scan:
        hint = "lines of two moments are compared with whole pictures: --deinterlace makes pictures whole"
        if "progressive" not in (r.scan, d.scan):
            hint = "fields of other moments are compared: --deinterlace makes pictures whole"
        found.append(Difference("scan", SCANS[r.scan], SCANS[d.scan], False, hint))
    return found + _transfer(r, d, pairing)


def _size(r: VideoInfo, d: VideoInfo, pairing: Pairing, turned: bool) -> Difference:
    scaled = pairing.size == "scale"
    hint = "the distorted video is scaled to the reference's size (bicubic)"
    if not scaled:
        hint = "scale the distorted video to the size of the reference"
    elif turned:
        hint = "turn both the same way first"
    elif _padded(r, d):
        hint += "; if one is padded to whole blocks of a coder, --crop auto cuts that off"
    return Difference("frame size", f"{r.width}x{r.height}", f"{d.width}x{d.height}", not scaled, hint)


def _padded(r: VideoInfo, d: VideoInfo) -> bool:
    across, down = abs(r.width - d.width), abs(r.height - d.height)
    return max(across, down) < BLOCK and any(side % BLOCK == 0 for side in (r.width, r.height, d.width, d.height))


def _shape(r: VideoInfo, d: VideoInfo, shapes: list[float], sizes: list[tuple[int, int]]) -> Difference:
    """Another picture shape: bars, a picture that lies, or pixels that are not square."""
    if sizes[0] == sizes[1]:
        hint = "pixels of another shape: they are compared as stored, one by one"
    elif abs(shapes[0] * shapes[1] - 1) <= SAME_SHAPE:
        hint = "one lies where the other stands: turn one of them, do not scale it"
    else:
        hint = "the distorted picture is stretched to the reference's shape; black bars are cut off by --crop auto"
    return Difference("picture shape", _ratio(r, shapes[0]), _ratio(d, shapes[1]), False, hint)


def _ratio(info: VideoInfo, shape: float) -> str:
    pixels = info.pixel_aspect
    return f"{shape:.2f}:1" + (f" (pixels {pixels.numerator}:{pixels.denominator})" if abs(pixels - 1) > 0.005 else "")


def _transfer(r: VideoInfo, d: VideoInfo, pairing: Pairing) -> list[Difference]:
    if r.transfer == d.transfer == "sdr":
        return []
    hint = "compare SDR with SDR, or HDR with the same HDR: tone-map one of them"
    if r.transfer == d.transfer:
        hint = "tone-map both to SDR: scores were learnt on SDR; --hdr as-is compares the coded values"
        if pairing.hdr == "as-is":
            hint = "HDR is compared as it is coded; scores were learnt on SDR"
    refused = r.transfer != d.transfer or pairing.hdr == "refuse"
    return [Difference("transfer", r.transfer, d.transfer, refused, hint)]
