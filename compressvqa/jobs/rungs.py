"""Trials that go on as long as they keep up: weak ones end after a stage, by validation.

After a stage that the user names, a trial whose accuracy lies below the median of all trials that got there is stopped
(the median rule of Golovin et al., "Google Vizier", KDD 2017, at the ends of stages). What is compared are whole
rounds, so the same trials are stopped whatever runs them and however often the sweep was.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compressvqa.executors import Results, Unit

# (settings, the stage that the run ends with or None) -> its unit.
UnitOf = Callable[[Mapping[str, Any], "str | None"], Unit]
# {name of a unit: its result} of some units; None where this process does a share only.
Run = Callable[[list[Unit]], "Mapping[str, Any] | None"]


class Rungs:
    """Runs trials round after round, to the end of each of some stages first.

    Args:
        unit_of: the unit of some settings.
        run: runs units.
        stops: stages in the order of the recipe, after each of which weak trials are stopped.
        accuracy: key of the table that they are compared by.
        kept: results of units, also of other shares.
    """

    def __init__(
        self, unit_of: UnitOf, run: Run, *, stops: Sequence[str] = (), accuracy: str = "srocc",
        kept: Results | None = None,
    ) -> None:  # fmt: skip
        self._unit_of, self._run, self._accuracy, self._kept = unit_of, run, accuracy, kept
        self._seen: dict[str, list[float]] = {stop: [] for stop in stops}

    def __call__(self, trials: Sequence[Mapping[str, Any]]) -> tuple[list[Unit], dict[str, Any]] | None:
        """One round.

        Returns:
            The units that trials ended with, in order, and {name of a unit: its result}; results of trials that were
            stopped say so under "stopped". None where other shares have to end first.
        """
        units: dict[int, Unit] = {}
        results: dict[str, Any] = {}
        going = list(range(len(trials)))
        for stop in (*self._seen, None):
            units |= {place: self._unit_of(trials[place], stop) for place in going}
            found = self._found([units[place] for place in going], last=stop is None)
            if found is None:
                return None
            results |= found
            if stop is not None:
                going = self._keep_up(stop, {place: results[units[place].name] for place in going})
                for place in set(units) - set(going):
                    results[units[place].name] = self._marked(stop, results[units[place].name])
        return [units[place] for place in range(len(trials))], results

    def _found(self, units: list[Unit], *, last: bool) -> Mapping[str, Any] | None:
        once = list({unit.name: unit for unit in units}.values())
        found = self._run(once)
        if found is not None or last or self._kept is None:
            return found
        kept = {unit.name: self._kept.get(unit.name) for unit in once}
        held = {name: result[0] for name, result in kept.items() if result is not None}
        return held if len(held) == len(kept) else None

    def _keep_up(self, stop: str, results: Mapping[int, Mapping[str, Any]]) -> list[int]:
        """Places of the trials that go on: none that failed, and none below the median."""
        reached = {place: self._figure(result) for place, result in results.items() if "failed" not in result}
        self._seen[stop] += reached.values()
        middle = statistics.median(self._seen[stop]) if self._seen[stop] else -math.inf
        return [place for place, figure in reached.items() if figure >= middle]

    def _figure(self, result: Mapping[str, Any]) -> float:
        """Accuracy of a trial so far; less than any where it has none: all its scores may be one."""
        value = result["row"].get(self._accuracy)
        return -math.inf if value is None or math.isnan(value) else float(value)

    def _marked(self, stop: str, result: Mapping[str, Any]) -> Mapping[str, Any]:
        if "failed" in result or "stopped" in result:
            return result
        figure, middle = self._figure(result), statistics.median(self._seen[stop])
        return {**result, "stopped": f"after {stop}: {self._accuracy} {figure:.4g}, the median so far is {middle:.4g}"}
