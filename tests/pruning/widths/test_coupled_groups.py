"""Allowed widths: units, multiples, least widths; groups of a bundle keep the same number of units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressvqa.errors import PruneError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.settings import Settings
from compressvqa.pruning.widths.cost import NetworkCost, Products
from compressvqa.pruning.widths.limits import couplings_of, widths_of
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.planning import make_plan


@dataclass(frozen=True, eq=False)
class Tied(Group):
    """A group with the two fields that tie groups by number."""

    coupling: str | None = None
    unit: int = 1


def group(name: str, channels: int, *, outputs: int = 1, frozen: str | None = None, **tie: Any) -> Tied:
    return Tied(name, channels, (), {name: outputs}, {}, frozen, (), **tie)


def cost_of(groups: list[Tied], macs_per_channel: list[float] | None = None) -> NetworkCost:
    """A network whose parameters are its channels, and whose MACs are channels times a number."""
    free = [g for g in groups if g.frozen is None]

    def products(factors: list[float]) -> Products:
        return Products(
            np.array(factors, dtype=float),
            np.array([[float(g.channels)] for g in free]),
            np.eye(len(free)),
        )

    work = macs_per_channel or [10.0] * len(free)
    macs = products(work)
    zero = np.zeros(len(free), dtype=np.int64)
    return NetworkCost(products([1.0] * len(free)), macs, sum(g.channels for g in free), macs.at(zero))


class Given:
    """Scores that were worked out before."""

    def __init__(self, scores: dict[str, list[float]], comparable: bool = False) -> None:
        self._scores, self.comparable = scores, comparable

    def of(self, group: Group) -> torch.Tensor:
        return torch.tensor(self._scores[group.name])

    def zero(self, group: Group) -> np.ndarray[Any, Any]:
        return np.flatnonzero(np.array(self._scores[group.name]) == 0)


def plan(groups: list[Tied], macs: list[float] | None = None, *, scores: Any = None, **settings: Any) -> PruningPlan:
    return make_plan(groups, cost_of(groups, macs), Settings.of(**settings), scores=scores)


HEADS = [group("stream", 96, coupling="heads", unit=16), group("qk", 6, coupling="heads"), group("mlp", 40)]


def test_groups_of_a_bundle_keep_the_same_number_of_units() -> None:
    assert plan(HEADS, ratios=0.5).kept == {"stream": 48, "qk": 3, "mlp": 20}
    # 0.6 of 6 units is 3.6, so 4 units.
    assert plan(HEADS, ratios=0.4).kept == {"stream": 64, "qk": 4, "mlp": 24}
    kept = plan(HEADS, target_params=0.5).kept
    assert kept["stream"] == 16 * kept["qk"] and sum(kept.values()) <= 71


def test_the_smallest_ratio_of_a_bundle_counts_and_is_said() -> None:
    result = plan(HEADS, ratios={"stream": 0.5, "qk": 0.17})
    assert result.kept == {"stream": 80, "qk": 5, "mlp": 40}
    assert "stream: tied layers ask for different ratios (stream 0.5, qk 0.17), the smallest is used" in result.notes


def test_a_kept_partner_keeps_the_bundle() -> None:
    groups = [group("stream", 96, coupling="heads", unit=16, frozen="the network returns it"), *HEADS[1:]]
    result = plan(groups, ratios=0.5)
    assert result.kept == {"mlp": 20}
    assert result.frozen["qk"] == "as many as in stream, which is kept: the network returns it"


def test_min_channels_and_max_ratio_hold_for_all_members() -> None:
    assert plan(HEADS, ratios=0.9, min_channels=3).kept == {"stream": 48, "qk": 3, "mlp": 4}
    assert plan(HEADS, ratios=0.9, max_ratio=0.5).kept == {"stream": 48, "qk": 3, "mlp": 20}


def test_round_to_counts_outputs_of_every_layer() -> None:
    # One channel is 3 outputs of one layer and 1 of another: both must become multiples of 4.
    tied = Tied("a", 24, (), {"a": 3, "b": 1}, {}, None, ())
    assert plan([tied], ratios=0.4, round_to=4).kept == {"a": 16}
    # One channel of a grouped layer is 4 outputs, so every second width will do.
    assert plan([group("g", 10, outputs=4)], ratios=0.35, round_to=8).kept == {"g": 6}
    # A unit of 6 channels: 4 units are the first multiple of 8.
    assert plan([group("u", 60, coupling="x", unit=6)], ratios=0.5, round_to=8).kept == {"u": 24}


def test_different_numbers_of_units_are_refused() -> None:
    with pytest.raises(PruneError, match=r"a, b: tied groups have different numbers of units: \[4, 5\]"):
        plan([group("a", 8, coupling="x", unit=2), group("b", 5, coupling="x")], ratios=0.5)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([None, "x"])), min_size=1, max_size=5),
    st.integers(1, 24),
    st.integers(1, 9),
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_whatever_is_asked_widths_are_allowed(
    kinds: list[tuple[int, int, str | None]], units: int, round_to: int, least: int, ratio: float, most: float
) -> None:
    """Units are equal in a bundle, never zero, never more than there are; multiples unless whole or at the least."""
    groups = [
        group(f"g{i}", units * unit, outputs=outputs, coupling=name and f"bundle {name}", unit=unit if name else 1)
        for i, (unit, outputs, name) in enumerate(kinds)
    ]
    limits = {"round_to": round_to, "min_channels": least, "max_ratio": most}
    found, _ = couplings_of(groups, Settings.of(ratios=ratio, **limits))
    kept = plan(groups, ratios=ratio, **limits).kept
    for bundle in found:
        counts = {kept[name] / size for name, size in zip(bundle.names, bundle.sizes, strict=True)}
        assert len(counts) == 1 and float(next(iter(counts))).is_integer()
    for g in groups:
        width = kept[g.name]
        assert 1 <= width <= g.channels and width >= min(least, g.channels)
        assert g.channels - width <= most * g.channels + 1e-6
        assert width == g.channels or width * g.producers[g.name] % round_to == 0
    assert widths_of(found, [b.units for b in found]).tolist() == [g.channels for g in groups]


def test_a_global_ranking_removes_the_lowest_of_all() -> None:
    groups = [group("a", 4), group("b", 4)]
    scores: Any = Given({"a": [1.0, 1.0, 1.0, 1.0], "b": [0.1, 0.2, 1.8, 1.9]})
    # Means are 1 in both, so the two lowest of b go, and then one of a.
    assert plan(groups, ratios=0.25, scope="global", scores=scores).kept == {"a": 4, "b": 2}
    assert plan(groups, ratios=0.375, scope="global", scores=scores).kept == {"a": 3, "b": 2}
    # The scale of a group does not count, unless the criterion says so.
    scaled = {"a": [0.001, 0.001, 0.001, 0.001], "b": [0.1, 0.2, 1.8, 1.9]}
    by_share: Any = Given(scaled)
    as_it_is: Any = Given(scaled, comparable=True)
    assert plan(groups, ratios=0.25, scope="global", scores=by_share).kept == {"a": 4, "b": 2}
    assert plan(groups, ratios=0.25, scope="global", scores=as_it_is).kept == {"a": 2, "b": 4}


def test_no_group_collapses_under_a_global_ranking() -> None:
    groups = [group("a", 10), group("b", 10)]
    scores: Any = Given({"a": [0.01] * 10, "b": [1.0] * 10}, comparable=True)
    result = plan(groups, ratios=0.5, scope="global", scores=scores, max_ratio=0.7)
    assert result.kept == {"a": 3, "b": 7}
    result = plan(groups, ratios=0.9, scope="global", scores=scores, max_ratio=0.7)
    assert result.kept == {"a": 3, "b": 3}
    assert "ratios=0.9: only 0.7 can go, max_ratio=0.7 keeps the rest" in result.notes


def test_a_global_ranking_ranks_units_of_a_bundle() -> None:
    groups = [group("a", 4, coupling="x", unit=2), group("b", 2, coupling="x"), group("c", 6)]
    # Units of a: {0, 2} and {4, 6}, means 1 and 5; of b: 3 and 5; together 2 and 5. Of c: 1 to 6.
    scores: Any = Given({"a": [6.0, 0, 4, 2], "b": [5.0, 3], "c": [1.0, 2.5, 3, 4, 5, 6]}, comparable=True)
    assert plan(groups, ratios=1 / 12, scope="global", scores=scores).kept == {"a": 4, "b": 2, "c": 5}
    assert plan(groups, ratios=4 / 12, scope="global", scores=scores).kept == {"a": 2, "b": 1, "c": 5}
    assert plan(groups, ratios=5 / 12, scope="global", scores=scores).kept == {"a": 2, "b": 1, "c": 4}


@given(st.floats(0.15, 1), st.integers(0, 10**6))
def test_a_global_ranking_stops_where_a_target_is_met(target: float, seed: int) -> None:
    """Independent of the search: the lowest scores are taken one by one until the target is met."""
    dice = np.random.default_rng(seed)
    groups = [group(name, 300) for name in "abc"]
    scores = {name: dice.permutation(np.linspace(0.01, 1, 300)).tolist() for name in "abc"}
    work = [1.0, 5.0, 20.0]
    given_scores: Any = Given(scores, comparable=True)
    result = plan(groups, work, target_macs=target, scope="global", scores=given_scores)
    lowest = iter(sorted((s, k) for k, name in enumerate("abc") for s in scores[name]))
    left, kept = sum(work) * 300, [300, 300, 300]
    while left > target * result.macs[0]:
        _, k = next(lowest)
        left, kept[k] = left - work[k], kept[k] - 1
    assert list(result.kept.values()) == kept


def test_two_targets_are_both_used_up_where_widths_allow() -> None:
    """Half of the parameters and a fifth of the work: the group that does the work has to give more."""
    groups = [group("light", 1000), group("heavy", 1000)]
    result = plan(groups, [1.0, 100.0], target_params=0.5, target_macs=0.2)
    assert 0.98 * 0.5 <= result.params[1] / result.params[0] <= 0.5
    assert 0.98 * 0.2 <= result.macs[1] / result.macs[0] <= 0.2
    assert result.notes == ()
    assert result.kept["heavy"] < 200 < 700 < result.kept["light"]


def test_where_two_targets_cannot_be_used_up_the_plan_says_which_binds() -> None:
    result = plan([group("only", 1000)], target_params=0.5, target_macs=0.2)
    assert result.kept == {"only": 200}
    assert result.notes == ("target_params=0.5: 0.2 is kept, target_macs binds",)


def test_layers_that_are_no_multiple_are_listed_with_the_reason() -> None:
    groups = [
        group("narrow", 5), group("odd", 38), group("fine", 64),
        Tied("half", 20, (), {"both": 1}, {}, None, ()), Tied("rest", 3, (), {"both": 1}, {}, "it is returned", ()),
    ]  # fmt: skip
    result = plan(groups, ratios={"*": 0.05, "fine": 0.5, "both": 0.5}, round_to=8)
    assert result.kept == {"narrow": 5, "odd": 38, "fine": 32, "half": 8}
    said = "no multiple of round_to=8: narrow 5 (narrower than one multiple), odd 38 (nearest to all), "
    assert result.notes == (said + "both 11 (some of its channels can't go)",)
    # Nothing was asked of the narrow layers here, so there is nothing to say.
    assert plan(groups, ratios={"fine": 0.5}, round_to=8).notes == ()


def test_zeros_of_a_bundle_go_as_far_as_all_its_groups_have_them() -> None:
    groups = [group("a", 12, coupling="x", unit=3), group("b", 4, coupling="x"), group("c", 5)]
    scores: Any = Given({"a": [0.0] * 7 + [1.0] * 5, "b": [0.0, 1, 0, 0], "c": [0.0, 0, 1, 1, 1]})
    result = plan(groups, ratios="zeros", scores=scores)
    assert result.kept == {"a": 6, "b": 2, "c": 3}
    assert result.notes == ("zero channels that stay: a 1, b 1",)
    result = plan(groups, ratios="zeros", scores=scores, min_channels=4)
    assert result.kept == {"a": 12, "b": 4, "c": 4}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratios": 0.5, "scope": "all"}, "scope must be local or global, not 'all'"),
        ({"ratios": {"stream": 0.5}, "scope": "global"}, "ratios must be one number, or a target"),
        ({"ratios": "zeros", "target_params": 0.5}, r"just what is zero \(try: no target and scope='local'"),
        ({"ratios": "half"}, "ratios are numbers or 'zeros', not 'half'"),
    ],
)
def test_what_excludes_each_other_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        plan(HEADS, **settings)


@pytest.mark.parametrize("value", [-0.1, 1.5, True])
def test_max_ratio_is_a_share(value: float) -> None:
    with pytest.raises(PruneError, match="max_ratio must be a share"):
        Settings.of(ratios=0.5, max_ratio=value)
