"""How figures are written: the one place for units, digits and shares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

ABSENT = "-"
MOST_DIGITS = 4  # of a correlation whose interval is not known


@dataclass(frozen=True)
class Quantity:
    """A cost that can be a column or an axis: its key, its title, the unit, what the unit divides by, digits."""

    key: str
    title: str
    unit: str
    divide: float
    digits: int

    @property
    def heading(self) -> str:
        """Title and unit, "Params (M)"."""
        return f"{self.title} ({self.unit})"

    def text(self, value: float | None) -> str:
        """A value in the unit, without it."""
        return ABSENT if value is None else f"{value / self.divide:,.{self.digits}f}"


PARAMS = Quantity("params", "Params", "M", 1e6, 3)
MACS_CONV_LINEAR = Quantity("macs_conv_linear", "MACs, conv & linear", "G", 1e9, 3)
MACS = Quantity("macs", "MACs, all", "G", 1e9, 3)
LATENCY = Quantity("latency_ms", "Latency", "ms", 1.0, 1)
P90 = Quantity("latency_p90_ms", "p90", "ms", 1.0, 1)
QUANTITIES = (PARAMS, MACS_CONV_LINEAR, MACS, LATENCY, P90)


def digits_of(interval: tuple[float, float] | None) -> int:
    """Digits after the point that a correlation is worth: no more than its confidence interval bears.

    >>> digits_of((0.80, 0.90)), digits_of((0.89, 0.91)), digits_of((0.899, 0.901)), digits_of(None)
    (2, 3, 4, 4)
    """
    if interval is None:
        return MOST_DIGITS
    half = (interval[1] - interval[0]) / 2
    return MOST_DIGITS if half <= 0 else max(2, min(MOST_DIGITS, 1 + math.floor(1e-9 - math.log10(half))))


def digits_of_all(intervals: Iterable[tuple[float, float] | None]) -> int:
    """Digits after the point for figures that stand below each other: what the middle one of their intervals bears.

    >>> digits_of_all([(0.80, 0.90), (1.0, 1.0), (0.3, 0.7), None]), digits_of_all([None])
    (2, 4)
    """
    known = sorted((ends for ends in intervals if ends is not None), key=lambda ends: ends[1] - ends[0])
    return digits_of(known[len(known) // 2]) if known else MOST_DIGITS


def correlation(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """A correlation as the field prints it, without the zero before the point, in the digits that it is worth.

    >>> correlation(0.8846), correlation(-0.25), correlation(1.0), correlation(None), correlation(0.8846, (0.82, 0.93))
    ('.8846', '-.2500', '1.0000', '-', '.88')
    """
    return short(value, digits_of(interval))


def short(value: float | None, digits: int = MOST_DIGITS) -> str:
    """A correlation in so many digits, without the zero before the point.

    >>> short(-0.25, 2), short(0.999, 2), short(-0.001, 2)
    ('-.25', '1.00', '.00')
    """
    if value is None:
        return ABSENT
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def between(interval: tuple[float, float] | None, digits: int | None = None, *, zero: bool = False) -> str:
    """A confidence interval in square brackets, "" where there is none; in the digits that it bears by default.

    `zero` writes the zero before the point, as tables of runs do.

    >>> between((0.8246, 0.9311)), between((0.899, 0.901)), between((0.8246, 0.9311), zero=True)
    ('[.82, .93]', '[.899, .901]', '[0.82, 0.93]')
    """
    if interval is None:
        return ""
    digits = min(3, digits_of(interval) if digits is None else digits)
    ends = [f"{end:.{digits}f}" if zero else short(end, digits) for end in interval]
    return f"[{ends[0]}, {ends[1]}]"


def percent(share: float) -> str:
    """A share as text, with one more digit where it is small.

    >>> percent(0.0991), percent(0.95), percent(0.00421)
    ('9.9%', '95.0%', '0.42%')
    """
    return f"{share:.2%}" if abs(share) < 0.01 else f"{share:.1%}"


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "data set"), count(1200, "item")
    ('1 data set', '1,200 items')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
