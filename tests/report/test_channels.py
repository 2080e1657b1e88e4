"""The drawing of tied layers: what is on the page is what the groups are, and the file stands alone."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn

from compressvqa.models import create_model, example_inputs
from compressvqa.pruning import trace
from compressvqa.pruning.dependency.explain import Explanation, explain
from compressvqa.report.channels import draw_channels, save_channels

SVG = "{http://www.w3.org/2000/svg}"


def residual() -> Explanation:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return self.d(x + self.c(self.b(x).relu()))

    return explain(trace(Net(), (torch.randn(2, 4),)))


@pytest.fixture(scope="module")
def rankdvqa() -> Explanation:
    return explain(trace(create_model("rankdvqa"), example_inputs("rankdvqa", size=96)))


def words(tree: ET.Element) -> list[str]:
    return ["".join(t for t in text.itertext()) for text in tree.iter(f"{SVG}text")]


def test_one_colour_and_one_lane_a_group() -> None:
    tree = ET.fromstring(draw_channels(residual(), "net"))
    bars = {(r.find(f"{SVG}title").text or "").split(":")[0]: [] for r in tree.iter(f"{SVG}rect") if len(r)}
    for bar in (r for r in tree.iter(f"{SVG}rect") if len(r)):
        bars[(bar.find(f"{SVG}title").text or "").split(":")[0]].append(bar.get("fill"))
    assert {name: len(fills) for name, fills in bars.items()} == {"a": 2, "b": 1, "d": 1}  # a and c are one group
    assert len({fill for fills in bars.values() for fill in fills}) == 3
    lanes = [g for g in tree.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    marks = {
        lane.find(f"{SVG}title").text.split(":")[0]: Counter(
            c.get("fill") == "#ffffff" for c in lane.iter(f"{SVG}circle")
        )
        for lane in lanes
    }
    assert marks == {"a": {False: 2, True: 2}, "b": {False: 1, True: 1}, "d": {False: 1}}  # discs make, rings read
    assert any(word.startswith("with a, add at test_channels.py:") for word in words(tree))


def test_every_layer_has_a_row_in_the_order_of_running(rankdvqa: Explanation) -> None:
    tree = ET.fromstring(draw_channels(rankdvqa, "rankdvqa"))
    names = [t for t in tree.iter(f"{SVG}text") if t.get("class") == "name"]
    assert ["".join(t.itertext()) for t in names] == list(rankdvqa.layers)
    heights = [float(t.get("y", "")) for t in names]
    assert heights == sorted(set(heights))
    said = words(tree)
    assert said.count("removed: nothing reads it") == 2
    assert sum(word.startswith("kept: ") for word in said) == 5


def test_lanes_do_not_cross_each_other(rankdvqa: Explanation) -> None:
    tree = ET.fromstring(draw_channels(rankdvqa, "rankdvqa"))
    spans: dict[str, list[tuple[float, float]]] = {}
    for lane in tree.iter(f"{SVG}g"):
        line = lane.find(f"{SVG}line")
        assert line is not None
        spans.setdefault(line.get("x1", ""), []).append((float(line.get("y1", "")), float(line.get("y2", ""))))
    for column in spans.values():
        column.sort()
        assert all(last < first for (_, last), (first, _) in itertools.pairwise(column))


def test_the_file_stands_alone(rankdvqa: Explanation, tmp_path: Path) -> None:
    save_channels(rankdvqa, 'a <"name"> & more', tmp_path / "net.svg")
    text = (tmp_path / "net.svg").read_text(encoding="utf-8")
    assert text == draw_channels(rankdvqa, 'a <"name"> & more')  # the same bytes each time
    tree = ET.fromstring(text)
    assert 'a <"name"> & more' in words(tree)
    assert not [e.tag for e in tree.iter() if e.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}foreignObject")]
    assert text.count("http") == 1  # the namespace
    assert "url(" not in text
    assert float(tree.get("width", "0")) <= 1200
    inside = [float(e.get("x", "0")) for e in tree.iter() if e.get("x")]
    assert max(inside) < float(tree.get("width", "0"))


def test_a_part_of_a_network(rankdvqa: Explanation) -> None:
    tree = ET.fromstring(draw_channels(rankdvqa.about(["scales.3.mlp"]), "part"))
    names = ["".join(t.itertext()) for t in tree.iter(f"{SVG}text") if t.get("class") == "name"]
    assert set(names) < {path for path in rankdvqa.layers if path.startswith("scales.3.")}
