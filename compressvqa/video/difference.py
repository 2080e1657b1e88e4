"""One thing in which two videos differ, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One thing in which two videos differ.

    Args:
        what: the property.
        reference: its value in the reference video.
        distorted: its value in the distorted video.
        refused: whether a score of the two would mean nothing.
        hint: what is done about it, or what to do.
    """

    what: str
    reference: str
    distorted: str
    refused: bool
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.reference} (reference) and {self.distorted} (distorted)"
