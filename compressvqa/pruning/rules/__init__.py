"""What each operator does to channel labels: one small file a family, one registered function a rule.

A rule is called with the propagation and the recorded operator and returns a twin for each output. An operator without
a rule freezes every channel that it touches; it is never taken for an elementwise one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.labels import Twin
    from compressvqa.pruning.propagate import Propagation

Rule = Callable[["Propagation", "Node"], "list[Twin]"]
R = TypeVar("R", bound=Rule)
_rules: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[R], R]:
    """Registers a function as the rule of operators (names without namespace, overload and in-place underscore)."""

    def decorate(function: R) -> R:
        for name in operators:
            if name in _rules:
                raise ValueError(f"operator {name!r} has two rules")
            _rules[name] = function
        return function

    return decorate


def rule_of(operator: str) -> Rule | None:
    """The rule of an operator, or None."""
    return _rules.get(operator)


def known(operator: str) -> bool:
    """Whether an operator has a rule."""
    return operator in _rules


from compressvqa.pruning.rules import (  # noqa: E402, F401  (they register themselves)
    contraction,
    creation,
    indexing,
    joining,
    movement,
    normalisation,
    pointwise,
    recurrent,
    reduction,
    spatial,
    weights,
)

__all__ = ["Rule", "known", "rule", "rule_of"]
