"""Whether what was printed is what the document says.

Spaces at the ends of lines and empty lines count for nothing. `...` stands for anything, within a line or as a line for
any lines. A number agrees with one that differs by at most one in its last printed digit or by a five-thousandth, so
that processors may round; whole numbers must be the same.
"""

from __future__ import annotations

import re

NUMBER = re.compile(r"(?<![\w.])-?\d*\.\d+(?:e[+-]?\d+)?(?![\w.]*\d)")


def agrees(said: str, printed: str) -> bool:
    """True where `printed` is what `said` says."""
    return _lines(_kept(said), _kept(printed))


def _kept(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _lines(said: list[str], printed: list[str]) -> bool:
    if not said:
        return not printed
    if said[0].strip() == "...":
        return any(_lines(said[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and _line(said[0], printed[0]) and _lines(said[1:], printed[1:])


def _line(said: str, printed: str) -> bool:
    parts = [re.escape(part) for part in NUMBER.split(said)]
    numbers = NUMBER.findall(said)
    pattern = "(.+?)".join(parts).replace(re.escape("..."), ".*?")
    found = re.fullmatch(pattern, printed)
    return found is not None and all(map(_number, numbers, found.groups()))


def _number(said: str, printed: str) -> bool:
    try:
        value = float(printed)
    except ValueError:
        return False
    digits, _, power = said.partition("e")
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return abs(value - float(said)) <= max(1.01 * unit, abs(float(said)) / 5000)
