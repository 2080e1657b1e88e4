"""The built-in proxy set: what it promises to recipes that run anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressvqa.data.ladder import Rung
from compressvqa.data.proxy.builtin import TAKES, builtin_set
from compressvqa.data.virtual_camera import photographs

pytestmark = pytest.mark.slow


def test_its_parts_share_no_photograph_and_its_labels_follow_the_rung(tmp_path: Path) -> None:
    found = builtin_set(tmp_path, ladder=[Rung("x264", 24), Rung("x264", 44)])
    assert (found.kind, found.label, found.higher_is_better) == ("proxy", "VMAF 0.6.1", True)
    by_part = {part: {item.content for item in found.items if item.split == part} for part in TAKES}
    assert by_part == {part: {Path(name).stem for name in photographs(part)} for part in TAKES}
    assert len(found.items) == 2 * sum(count * len(photographs(part)) for part, count in TAKES.items())
    for ladder in {item.ladder for item in found.items}:
        better, worse = sorted((item for item in found.items if item.ladder == ladder), key=lambda item: item.rung or 0)
        assert better.mos > worse.mos
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert builtin_set(tmp_path, ladder=[Rung("x264", 24), Rung("x264", 44)]) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == made
