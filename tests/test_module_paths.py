"""Patterns of module paths: one language for every place that takes them."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import compressvqa as cv
from compressvqa.distillation.taps import FeatureTaps
from compressvqa.errors import CompressVQAError, PruneError, RecipeError
from compressvqa.module_paths import bare, closest, covers, modules_named, named, names, unmatched
from compressvqa.pruning.depth.blocks import find_blocks
from compressvqa.sparsity import regularised_groups

PARTS = ["a", "b0", "b1", "conv", "module"]


def bare_parts(path: list[str]) -> bool:
    return path[-1] != "module"


def by_hand(pattern: list[str], path: list[str]) -> bool:
    """Whether parts fit parts, one after the other."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(by_hand(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fits(pattern[0], path[0]) and by_hand(pattern[1:], path[1:])


def fits(pattern: str, part: str) -> bool:
    if not pattern:
        return not part
    if pattern[0] == "*":
        return any(fits(pattern[1:], part[skipped:]) for skipped in range(len(part) + 1))
    if pattern.startswith("[01]"):
        return part[:1] in ("0", "1") and part != "" and fits(pattern[4:], part[1:])
    if pattern.startswith("[!0]"):
        return part[:1] not in ("0", "") and fits(pattern[4:], part[1:])
    return bool(part) and pattern[0] in ("?", part[0]) and fits(pattern[1:], part[1:])


@given(
    st.lists(st.sampled_from(["a", "*", "**", "b?", "b[01]", "b[!0]", "c*v", "*n*", "x"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b0", "b1", "conv", "c"]), min_size=1, max_size=4),
)
def test_the_language_is_what_it_says(pattern: list[str], path: list[str]) -> None:
    assert names(".".join(pattern), ".".join(path)) == by_hand(pattern, path)
    above = [path[:length] for length in range(1, len(path) + 1)]
    everything = pattern == ["**"] * len(pattern)  # names the network itself, too
    assert covers(".".join(pattern), ".".join(path)) == (everything or any(by_hand(pattern, p) for p in above))


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).filter(bare_parts), st.data())
def test_wrappers_may_stand_anywhere_in_either(path: list[str], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(path)), max_size=3))
    wrapped = list(path)
    for place in sorted(places, reverse=True):
        wrapped.insert(place, data.draw(st.sampled_from(["module", "_orig_mod"])))
    assert names(".".join(path), ".".join(wrapped)) and names(".".join(wrapped), ".".join(path))
    assert covers(".".join(wrapped), f"{'.'.join(path)}.weight")
    assert bare(".".join(wrapped)) == bare(".".join(path))


def test_letters_that_mean_something_to_other_languages() -> None:
    assert names("a+b", "a+b") and not names("a+b", "aab")
    assert names("[^a]", "^") and not names("[^a]", "b")
    assert not names("[!a]", ".") and not names("a?b", "a.b") and not names("a[.]b", "a.b")
    assert not names("", "a") and not covers("", "a")
    assert not names("a.", "a") and not covers("blocks.1", "blocks.10")
    assert names("a[", "a[")


def test_a_name_that_is_taken_is_itself() -> None:
    """A network whose own module is called `module`: its path as it is counts first."""
    paths = ["conv", "module", "module.conv"]
    assert named("module.conv", paths) == ["module.conv"]
    assert named("conv", paths) == ["conv"]
    assert named("_orig_mod.conv", paths) == ["conv", "module.conv"]


def test_the_pattern_that_says_most_counts() -> None:
    for order in itertools.permutations(["*", "blocks", "blocks.*.attn", "blocks.0.attn", "**.qkv"]):
        assert closest(order, "blocks.0.attn.qkv") == "blocks.0.attn"
        assert closest(order, "blocks.1.attn.proj") == "blocks.*.attn"
        assert closest(order, "blocks.1.mlp") == "blocks"
        assert closest(order, "head") == "*"


class Small(nn.Module):
    """Residual blocks between two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(8, 8), "out": nn.Linear(8, 8)}) for _ in range(3))
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = x + block["out"](torch.relu(block["fc"](x)))  # type: ignore[index]
        return self.head(x)  # type: ignore[no-any-return]


X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
FCS = ["blocks.0.fc", "blocks.1.fc", "blocks.2.fc"]


@pytest.mark.parametrize("pattern", ["blocks.*.fc", "**.fc", "module.blocks.*.fc", "_orig_mod.blocks.?._orig_mod.f*"])
def test_every_place_reads_it_alike(pattern: str) -> None:
    """Ratios, protection, taps and penalties, on a network as it is and on one that is wrapped."""
    for model in (Small(), nn.DataParallel(Small()), torch.compile(Small(), backend="eager")):
        assert set(cv.prune(model, X, ratios={pattern: 0.5}).removed) == set(FCS)  # type: ignore[arg-type]
        kept = cv.prune(model, X, ratios=0.5, protect=[pattern]).removed  # type: ignore[arg-type]
        assert kept and not set(kept) & set(FCS)
        tapped = FeatureTaps(model, [pattern]).modules  # type: ignore[arg-type]
        assert [bare(path) for path in tapped] == FCS
        chosen, _ = regularised_groups(model, lam=0.1, include=[f"{pattern}.weight"])  # type: ignore[arg-type]
        assert [bare(name) for name, _ in chosen["params"]] == [f"{path}.weight" for path in FCS]


class Residual(nn.Module):
    """One block."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.fc(x))


@pytest.mark.parametrize("pattern", ["1.*", "**.[0-9].[0-9]", "module.1.*"])
def test_blocks_are_named_in_the_same_way(pattern: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(Residual(), Residual()), nn.Linear(8, 1))
    assert [block.path for block in find_blocks(model, X, pattern)] == ["1.0", "1.1"]
    pruned = cv.prune_depth(model, X, blocks=pattern, remove=1, protect=["1.0"])
    assert pruned.removed == ("1.1",)
    wrapped = cv.prune_depth(nn.DataParallel(model), X, remove=["module.1.1"])
    assert wrapped.removed == ("1.1",)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("blok.0", "blocks.0"),
        ("fc", r"\*\*\.fc: \* stands for one part of a path, \*\* for any number"),
        ("*.fc", r"\*\*\.\*\.fc"),
        ("x" * 30, "(stem|blocks)"),
    ],
)
def test_what_matches_nothing_is_said_with_near_ones(pattern: str, hint: str) -> None:
    line = re.escape(repr(pattern)) + rf" matches no (module|layer that makes channels|parameter) \(try: .*{hint}"
    small = Small()
    for call, error in (
        (lambda: cv.prune(small, X, ratios={pattern: 0.5}), PruneError),
        (lambda: cv.prune(small, X, ratios=0.5, protect=pattern), PruneError),
        (lambda: cv.prune_depth(small, X, blocks=pattern), PruneError),
        (lambda: FeatureTaps(small, [pattern]), RecipeError),
        (lambda: regularised_groups(small, lam=0.1, include=[pattern]), RecipeError),
    ):
        with pytest.raises(error, match=line) as caught:
            call()  # type: ignore[no-untyped-call]
        assert "\n" not in str(caught.value)


def test_an_empty_network_has_no_near_ones() -> None:
    assert str(unmatched("a", [""], CompressVQAError)) == "'a' matches no module"
    with pytest.raises(PruneError, match=r"^where: 'a' matches no module$"):
        modules_named(nn.Module(), "a", PruneError, where="where")
