"""The benchmarks register networks by the hundred; the tests after these must not meet them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compressvqa.registry import models


@pytest.fixture(scope="module", autouse=True)
def registry_as_it_was() -> Iterator[None]:
    """What was registered before these tests is what is registered after them."""
    before = dict(models._entries)
    yield
    models._entries = before
