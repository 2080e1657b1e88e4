"""In what the files of an item differ: from what the manifest says of them, and from each other."""

from __future__ import annotations

from compressvqa.opinions.look import Seen
from compressvqa.opinions.manifest import Item


def against_manifest(item: Item, name: str, seen: Seen) -> list[tuple[str, str]]:
    """Where the header of a file and the manifest disagree."""
    if seen.headerless:
        return []
    found = []
    is_reference = name == item.reference and name != item.distorted
    width = (item.reference_width or item.width) if is_reference else item.width
    height = (item.reference_height or item.height) if is_reference else item.height
    if width is not None and height is not None and (width, height) != (seen.width, seen.height):
        found.append(("size-unlike-manifest", f"{name} ({width}x{height}, the file says {seen.width}x{seen.height})"))
    rate = (item.reference_fps or item.fps) if is_reference else item.fps
    if rate is not None and seen.frame_rate is not None and abs(rate / seen.frame_rate - 1) > 0.002:
        text = f"{name} ({float(rate):.5g}, the file says {float(seen.frame_rate):.5g})"
        found.append(("rate-unlike-manifest", text))
    return found


def against_reference(item: Item, distorted: Seen, reference: Seen) -> list[tuple[str, str]]:
    """How a distorted file differs from its reference."""
    found = []
    sizes = [f"{seen.width}x{seen.height}" for seen in (distorted, reference)]
    if sizes[0] != sizes[1]:
        found.append(("size", f"{item.distorted} ({sizes[0]}, reference {sizes[1]})"))
    rates = (distorted.frame_rate, reference.frame_rate)
    same_rate = True
    if rates[0] is not None and rates[1] is not None and abs(rates[0] / rates[1] - 1) > 0.002:
        same_rate = False
        found.append(("frame-rate", f"{item.distorted} ({float(rates[0]):.5g}, reference {float(rates[1]):.5g})"))
    frames = (distorted.frames, reference.frames)
    if same_rate and None not in frames and frames[0] != frames[1]:
        found.append(("frames", f"{item.distorted} ({frames[0]}, reference {frames[1]})"))
    return found
