"""The rules of operators by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.dependency.labels import ChannelLabels
    from compressvqa.pruning.recording.graph import Node

OperatorRule = Callable[["Labelling", "Node"], "list[ChannelLabels]"]
R = TypeVar("R", bound=OperatorRule)
_rules: dict[str, OperatorRule] = {}


def rule(*operators: str) -> Callable[[R], R]:
    """Registers a function as the rule of operators (names without namespace, overload and in-place underscore)."""

    def decorate(function: R) -> R:
        for name in operators:
            if name in _rules:
                raise ValueError(f"operator {name!r} has two rules")
            _rules[name] = function
        return function

    return decorate


def rule_of(operator: str) -> OperatorRule | None:
    """The rule of an operator, or None."""
    return _rules.get(operator)


def known(operator: str) -> bool:
    """Whether an operator has a rule."""
    return operator in _rules
