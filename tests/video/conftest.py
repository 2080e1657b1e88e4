"""What tests of reading share: a look at which files are decoded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compressvqa.video.decode import Walk


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded from their beginning, each time that one was."""
    seen: list[str] = []
    walk = Walk.__iter__

    def noted(self: Walk) -> Iterator[object]:
        seen.append(self.path.name)
        return walk(self)

    monkeypatch.setattr(Walk, "__iter__", noted)
    return seen
