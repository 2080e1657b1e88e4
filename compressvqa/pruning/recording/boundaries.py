"""What modules took and gave in a run."""

from __future__ import annotations

from collections.abc import Iterable

from compressvqa.pruning.recording.graph import Value


class Boundaries(dict[str, set[Value]]):
    """What each module took and gave, by path; `gave` has what it gave alone."""

    def __init__(self) -> None:
        super().__init__()
        self.gave: dict[str, set[Value]] = {}

    def note(self, path: str, took: Iterable[Value], gave: Iterable[Value]) -> None:
        """One call of a module."""
        given = set(gave)
        self.setdefault(path, set()).update(took, given)
        self.gave.setdefault(path, set()).update(given)
