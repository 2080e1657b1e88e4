"""What a sweep varies: settings of a recipe, each one of some values or any of a range."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from compressvqa.errors import CompressVQAError

HINT = "KEY=V1,V2,... or KEY=LOW..HIGH or KEY=LOW..HIGH:log"


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """Any number from low to high; whole ones where both ends are.

    Args:
        low: the least.
        high: the greatest.
        log: orders of magnitude are drawn equally often, not numbers.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


def parse_space(texts: Sequence[str]) -> dict[str, Choice | Range]:
    """What is varied, by the name of the setting, as `--set` names it.

    Raises:
        CompressVQAError: it is not written so, or a setting is named twice.

    >>> parse_space(["seed=0,1", "stages.train.optimizer.lr=1e-4..1e-2:log"])["seed"].values
    (0, 1)
    """
    found: dict[str, Choice | Range] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise CompressVQAError(f"{text!r} varies nothing", where="--vary", hint=HINT)
        if key in found:
            raise CompressVQAError(f"{key} is varied twice", where="--vary")
        found[key] = _range(value) or Choice(_values(value, text))
    return found


def _range(text: str) -> Range | None:
    found = re.fullmatch(r"([^,]+?)\.\.([^,]+?)(:log)?", text)
    if found is None:
        return None
    low, high = (_number(part) for part in found.groups()[:2])
    if low is None or high is None or not low < high or (found[3] and low <= 0):
        raise CompressVQAError(f"{text!r} is no range", where="--vary", hint=HINT)
    return Range(low, high, found[3] is not None)


def _number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _values(text: str, whole: str) -> tuple[Any, ...]:
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise CompressVQAError(f"{whole!r} holds no values", where="--vary", hint=HINT) from error
    # YAML takes 1e-4 for a word.
    values = [_number(value) if isinstance(value, str) and _number(value) is not None else value for value in values]
    if not values or any(value in values[:place] for place, value in enumerate(values)):
        raise CompressVQAError(f"{whole!r} holds no value, or one twice", where="--vary", hint=HINT)
    return tuple(values)


def grid(space: Mapping[str, Choice | Range]) -> list[dict[str, Any]]:
    """Every combination of values, in order.

    Raises:
        CompressVQAError: a range has no end of values.

    >>> grid({"a": Choice((1, 2)), "b": Choice(("x",))})
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'}]
    """
    lists = []
    for key, choice in space.items():
        if isinstance(choice, Range):
            raise CompressVQAError(f"{key} has a range, and a grid needs values", where="--vary", hint="--sampler tpe")
        lists.append(choice.values)
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def titles(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """What trials are called in tables: settings by the end of their names, where that tells them apart.

    >>> titles([{"stages.prune.target_macs": 0.2, "seed": 1}])
    ['target_macs 0.2, seed 1']
    """
    keys = list(dict.fromkeys(key for trial in trials for key in trial))
    ends = [key.rpartition(".")[2] for key in keys]
    short = {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}
    return [", ".join(f"{short[key]} {_shown(value)}" for key, value in trial.items()) for trial in trials]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
