"""What `auto` comes to where a device has bf16 instructions and where it has none."""

from __future__ import annotations

import logging

import pytest

from compressvqa import arithmetic
from compressvqa.arithmetic import arithmetic_on


@pytest.fixture(params=[True, False], ids=["instructions", "no instructions"])
def instructions(request, monkeypatch) -> bool:
    monkeypatch.setattr(arithmetic, "fast_bf16", lambda: request.param)
    arithmetic._warn.cache_clear()
    return request.param


def test_auto_is_bf16_only_where_the_processor_has_instructions_and_the_rest_is_as_asked(instructions, caplog):
    caplog.set_level(logging.WARNING, "compressvqa")
    assert arithmetic_on("auto", "cpu") == ("bf16" if instructions else "32")
    assert arithmetic_on("auto", "cuda") == "bf16"
    assert arithmetic_on("auto", "mps") == "32"
    assert arithmetic_on("32", "cpu") == arithmetic_on("32", "cuda") == "32"
    assert arithmetic_on("bf16", "cuda") == "bf16"
    assert not caplog.records
    assert arithmetic_on("bf16", "cpu") == arithmetic_on("bf16", "cpu") == "bf16"
    assert len(caplog.records) == (0 if instructions else 1)  # said once
