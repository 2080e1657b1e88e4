"""The explanation against ties worked out by hand; and it is complete: a named tie for every layer of a group."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning.grammar import build
from rich.console import Console
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.models import create_model, example_inputs
from compressvqa.pruning import trace
from compressvqa.pruning.dependency.explain import ExplainedGroup, Explanation, explain
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.names import compact
from compressvqa.pruning.dependency.tree import to_tree


def line_of(mark: str) -> str:
    """`file:line` of the line of this file that ends in a comment."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (number,) = (n for n, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))
    return f"{Path(__file__).name}:{number}"


class Net(nn.Module):
    """Two branches over a norm; a layer read by both, a scale, a split, and a layer that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.block = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(8, 1, 1))
        self.left, self.right, self.both = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1)
        self.split, self.head, self.unread, self.uncalled = (
            nn.Conv2d(4, 10, 1),
            nn.Conv2d(5, 2, 1),
            nn.Conv2d(4, 3, 1),
            nn.Linear(2, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        x = x + self.block(x.relu())  # residual
        x = x * self.gain  # gain
        y = self.both(self.left(x)) - self.both(self.right(x))
        self.unread(y)
        a, b = self.split(y).chunk(2, 1)  # halves
        return self.head(a * b)


@pytest.fixture(scope="module")
def told() -> Explanation:
    return explain(trace(Net(), (torch.randn(1, 3, 8, 8),)))


def about(told: Explanation, name: str) -> ExplainedGroup:
    (fact,) = (f for f in told.groups if f.group.name == name)
    return fact


def test_ties_name_operator_line_and_layers(told: Explanation) -> None:
    first = about(told, "stem")
    assert [(t.operator, t.module, t.place, t.joins, t.before) for t in first.ties] == [
        ("add", "", line_of("residual"), ("stem", "block"), 0),
        ("mul", "", line_of("gain"), ("stem", "gain"), 1),
    ]
    assert (first.norms, first.parameters, first.buffers) == (("norm",), ("gain",), ())
    assert str(first.ties[1]) == f"mul in the network ({line_of('gain')}) ties gain with stem and 1 more"


def test_layers_read_by_one_layer_are_tied_by_it(told: Explanation) -> None:
    (tie,) = about(told, "left").ties
    assert (tie.operator, tie.module, tie.joins) == ("convolution", "both", ("left", "right"))


def test_outputs_of_one_layer_tied_to_each_other(told: Explanation) -> None:
    (tie,) = about(told, "split").ties
    assert (tie.operator, tie.place, tie.joins) == ("split", line_of("halves"), ("split",))
    assert str(tie).endswith("ties outputs of split to each other")


def test_kept_dead_and_uncalled(told: Explanation) -> None:
    assert about(told, "head").group.frozen == "the network returns these channels"
    assert about(told, "unread").dead
    assert told.dead == {"unread": 15}
    assert told.uncalled == ("uncalled",)
    assert told.layers == ("stem", "block", "left", "both", "right", "unread", "split", "head")


def test_only_what_is_asked_about(told: Explanation) -> None:
    assert [f.group.name for f in told.about(["block"]).groups] == ["stem"]
    assert [f.group.name for f in told.about(["ga*", "unread"]).groups] == [
        "stem",
        "both",
        "unread",
    ]  # both: unread reads it
    with pytest.raises(PruneError, match="'blok' matches no layer"):
        told.about(["block", "blok"])


def test_json_holds_every_slot(told: Explanation) -> None:
    read = json.loads(json.dumps(told.to_dict()))
    for fact, group in zip(told.groups, read["groups"], strict=True):
        assert (group["name"], group["channels"], group["kept_because"]) == (
            fact.group.name, fact.group.channels, fact.group.frozen,
        )  # fmt: skip
        assert [(s["tensor"], s["dim"]) for s in group["slots"]] == [(s.leaf, s.dim) for s in fact.group.slots]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_every_member_is_there_for_a_reason(seed: int) -> None:
    """n layers and parameters in a group need n - 1 joins; several outputs per channel need one that folds them."""
    net = build(seed)
    for fact in explain(trace(net, net.example(0))).groups:
        members = {*fact.group.producers, *fact.parameters, *fact.buffers}
        joined = [name for tie in fact.ties for name in tie.joins]
        assert sum(len(tie.joins) - 1 for tie in fact.ties) == len(members) - 1
        assert set(joined) <= members
        if fact.group.frozen is None:
            folds = [tie for tie in fact.ties if len(tie.joins) == 1]
            assert len(folds) == (max(fact.group.producers.values()) > 1)


def rows(told: Explanation, *, every: bool = False) -> list[str]:
    console = Console(width=1000, file=io.StringIO())
    console.print(to_tree(told, "net", every=every))
    return [re.sub(r"^[\s│├└─]*", "", line).rstrip() for line in console.file.getvalue().splitlines()]


def test_the_tree_of_rankdvqa() -> None:
    """A hundred layers in forty lines: scales that are alike are told once, and so is why attention is kept."""
    net = create_model("rankdvqa")
    facts = explain(trace(net, example_inputs("rankdvqa", size=96)))
    lines = rows(facts)
    assert len(lines) < 50
    merged = "read by extractor.stages.1.0, scales.0.conv_in (36 inputs per channel)"
    assert f"extractor.stages.0.2: 16 channels, {merged}" in lines
    assert "scales.0-4.conv_in: 5 groups alike, each of 32 channels" in lines
    tie = r"add in scales\.0-4 \(rankdvqa_parts\.py:\d+\): scales\.0-4\.mlp\.fc2 with scales\.0-4\.conv_in"
    assert any(re.fullmatch(tie, line) for line in lines)
    assert any(line.startswith("scales.0-4.attention.qkv (5 groups, 32 channels): ") for line in lines)
    assert "extractor.stages.5  553,344 parameters, 12.0%" in lines
    full = "\n".join(rows(facts, every=True))
    assert "scales.2.conv_out.weight dim 0 (1 per channel), scales.2.conv_out.bias dim 0 (1 per channel)" in full
    assert "ties scales.4.mlp.fc2 with scales.4.conv_in and 1 more" in full


def test_a_coupling_is_shown(told: Explanation) -> None:
    @dataclass(frozen=True, eq=False)
    class Bundled(Group):
        coupling: str | None = "stream"
        unit: int = 4

    stem = about(told, "stem")
    values = {f.name: getattr(stem.group, f.name) for f in fields(Group) if f.name not in ("coupling", "unit")}
    fact = ExplainedGroup(Bundled(**values), (), (), (), (), (), False)
    lines = rows(Explanation((fact,), ("stem",), 1, 1, {}, (), ()))
    assert "stem: 8 channels, 4 at a time, coupling stream" in lines
    assert "stem: 2 units of 4 channels" in lines


def expanded(name: str) -> list[str]:
    """Every name that a compact one stands for."""
    parts = re.split(r"(\{[^}]*\}|\d+-\d+)", name)
    choices = []
    for part in parts:
        if not re.fullmatch(r"\{[^}]*\}|\d+-\d+", part):
            choices.append([part])
            continue
        numbers: list[str] = []
        for run in part.strip("{}").split(","):
            first, _, last = run.partition("-")
            numbers += map(str, range(int(first), int(last or first) + 1))
        choices.append(numbers)
    return ["".join(chosen) for chosen in product(*choices)]


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1))
def test_compact_names_stand_for_the_same_names(numbers: set[tuple[int, int]]) -> None:
    names = [f"stages.{a}.blocks.{b}.fc1" for a, b in sorted(numbers)] + ["head"]
    short = compact(names)
    assert sorted(each for name in short for each in expanded(name)) == sorted(names)
    assert len(short) <= len(names)
