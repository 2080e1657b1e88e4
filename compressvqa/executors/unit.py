"""A unit of work, what does it, and what runs many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from compressvqa.executors.results import Results

# A function of a module (not a lambda, not a method), called in another process with the unit's arguments; what it
# returns is plain: what JSON can hold.
Work: TypeAlias = Callable[..., Any]
Outcome: TypeAlias = "tuple[Unit, Any]"


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Args:
        name: 32 hexadecimal digits that change with all that the result depends on, see `named`.
        arguments: what the work is called with, by name: plain values and paths.
        title: what a person calls it, in messages.
    """

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    title: str = ""

    @classmethod
    def named(cls, facts: Any, arguments: Mapping[str, Any], title: str = "") -> Unit:
        """A unit named by facts: digests of its inputs, its settings, and the version of the code.

        Args:
            facts: plain values (what JSON can hold).
            arguments: what the work is called with.
            title: what a person calls it.

        Raises:
            TypeError: a fact is not plain, so that nobody knows whether its text stands for its value.

        >>> Unit.named({"file": "a.mp4"}, {}).name == Unit.named({"file": "b.mp4"}, {}).name
        False
        """
        text = json.dumps(facts, sort_keys=True, allow_nan=False)
        return cls(hashlib.sha256(text.encode()).hexdigest()[:32], arguments, title)


class Executor(Protocol):
    """Runs units."""

    # Whether all units are run; else some are left to others, and what needs them all must wait.
    whole: bool

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """Those of the units that `run` runs."""

    def run(self, work: Work, units: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        """Runs those of the units that have no result yet.

        Args:
            work: what is done with each.
            units: names must differ.
            results: where results lie; every process and node must see this folder.

        Returns:
            (unit, result) of each unit as it is done, those with a kept result first; in no certain order.

        Raises:
            CompressVQAError: a unit's work raised it, or a unit was lost again and again; what was done is kept.
        """
