"""What a trade-off figure has on its axes: the complexities, and what accuracy is taken against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressvqa.labels import label_title
from compressvqa.report.numbers import LATENCY, MACS, MACS_CONV_LINEAR, PARAMS, Quantity
from compressvqa.report.results import number


@dataclass(frozen=True)
class Measure:
    """A complexity that can be an x axis: the row's key, its name, its unit and what the unit divides by."""

    key: str
    name: str
    unit: str
    divide: float

    @classmethod
    def of(cls, quantity: Quantity, name: str) -> Measure:
        """The axis of a quantity."""
        return cls(quantity.key, name, quantity.unit, quantity.divide)

    def title(self, inputs: str | None) -> str:
        """The axis's name; MACs and time also say what they were counted on."""
        counted = inputs is not None and self.key != "params"
        return f"{self.name} ({self.unit}, {inputs})" if counted else f"{self.name} ({self.unit})"


MEASURES = (
    Measure.of(MACS, "MACs"),
    Measure.of(PARAMS, "Parameters"),
    Measure.of(LATENCY, "Latency"),
)
CONV_LINEAR = Measure.of(MACS_CONV_LINEAR, "MACs of conv & linear layers")


def accuracy_title(label: str | None, n: int | None, key: str = "srocc") -> str:
    """The y axis's name.

    >>> accuracy_title("vmaf_v0.6.1", 96)
    'SROCC against VMAF 0.6.1\\non 96 validation clips'
    """
    title = {"srocc": "SROCC", "plcc": "PLCC", "krocc": "KROCC", "pair_accuracy": "Pair accuracy"}.get(key, key)
    title += f" against {label_title(label)}" if label else ""
    return title + (f"\non {n:,} validation clips" if n else "")


def measures_of(rows: Sequence[Mapping[str, Any]], accuracy: str = "srocc") -> list[Measure]:
    """The complexities that at least one row with an accuracy has (a log axis needs them positive).

    Of the two ways of counting MACs the one that more rows have, all of them where it is even.
    """
    scored = [row for row in rows if number(row, accuracy) is not None]

    def known(measure: Measure) -> int:
        return sum((number(row, measure.key) or 0) > 0 for row in scored)

    macs, *others = MEASURES
    return [measure for measure in (max(macs, CONV_LINEAR, key=known), *others) if known(measure)]
