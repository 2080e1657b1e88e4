"""What became of one clip of a proxy set."""

from __future__ import annotations

from dataclasses import dataclass

from compressvqa.data.proxy.encodes import Encode
from compressvqa.data.proxy.references import Reference


@dataclass
class Made:
    """What became of one clip.

    Args:
        content: its path below the folder of clips.
        skipped: why it was not used; None if it was.
        reference: its reference.
        encodes: {file name: encode}, in the order of the ladder.
        notes: encodes that were left out, and why.
    """

    content: str
    skipped: str | None = None
    reference: Reference | None = None
    encodes: dict[str, Encode] | None = None
    notes: tuple[str, ...] = ()
