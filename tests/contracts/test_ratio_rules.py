"""The exam of every registered ratio rule: what a share kept must be, whatever the densities around a group."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressvqa.pruning.widths.ratios import GroupDensity
from compressvqa.registry import ratio_rules

RULES = sorted(ratio_rules)
densities = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), max_size=4)


@pytest.mark.parametrize("name", RULES)
@given(producers=densities, consumers=densities, overall=st.floats(0, 1))
def test_a_share_lies_between_nothing_and_all(
    name: str, producers: dict[str, float], consumers: dict[str, float], overall: float
) -> None:
    share = ratio_rules[name].value(GroupDensity(producers, consumers), overall)
    assert isinstance(share, (int, float)) and math.isfinite(share) and 0 <= share <= 1


@pytest.mark.parametrize("name", RULES)
@given(producers=densities, consumers=densities, overall=st.floats(0, 1))
def test_a_rule_depends_on_its_arguments_only(
    name: str, producers: dict[str, float], consumers: dict[str, float], overall: float
) -> None:
    given_before = (dict(producers), dict(consumers))
    group = GroupDensity(producers, consumers)
    assert ratio_rules[name].value(group, overall) == ratio_rules[name].value(group, overall)
    assert (producers, consumers) == given_before


@pytest.mark.parametrize("name", sorted(set(RULES) & {"in", "sqrt", "max", "uniform", "budget"}))
def test_the_paper_s_rules_agree_where_all_densities_are_one(name: str) -> None:
    """Nothing is sparse, so nothing goes."""
    assert ratio_rules[name].value(GroupDensity({"a": 1.0}, {"b": 1.0, "c": 1.0}), 1.0) == 1.0
