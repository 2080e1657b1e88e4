"""A table that grows from machine to machine: lines of an earlier one stay where their data are the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tradeoff_grid.rows import Row

# The teacher's SROCC is known to all digits: the same network on the same patches differs by rounding alone.
SAME = 1e-6


class OtherTableError(Exception):
    """An earlier table is not of the same teacher, data and steps."""


def machine_of(result: Mapping[str, Any]) -> str:
    """Where a table's rows were run, in words."""
    machine = result["environment"]
    return f"{machine['system']}, {machine['processor']}, torch {machine['packages']['torch']}"


def with_kept(result: dict[str, Any], file: Path) -> dict[str, Any]:
    """A table with those lines of an earlier one that were not run again.

    A line whose seeds were run in part is not added up: what was run now takes the place of the whole line. Teachers
    are compared where rows were run here; without any, the table stays as it was.

    Args:
        result: the table of what has been run here.
        file: the table as it was; where none lies there, nothing is kept.

    Raises:
        OtherTableError: steps, label or patches differ, or the teacher's SROCC does.
    """
    if not file.exists():
        return result
    earlier = json.loads(file.read_text())
    for name, value in earlier["setting"].items():
        if result["setting"][name] != value:
            raise OtherTableError(f"its rows were run with {name} {value}, these with {result['setting'][name]}")
    here = {line["teacher"] for line in result["lines"]}
    for line in earlier["lines"]:
        if any(abs(line["teacher"] - teacher) > SAME for teacher in here):
            raise OtherTableError(f"its teacher has an SROCC of {line['teacher']:.6f}, this one {max(here):.6f}")
    run = {_row(line).name for line in result["lines"]}
    kept = [line for line in earlier["lines"] if _row(line).name not in run]
    machine = machine_of(earlier)
    machines = Counter(line.get("machine", machine) for line in kept)
    done = {Row(**_fields(line) | {"seed": seed}).name for line in kept for seed in line["seeds"]}
    return {
        **result,
        "run": result["run"] + sum(len(line["seeds"]) for line in kept),
        "lines": [*result["lines"], *({"machine": machine, **line} for line in kept)],
        "missing": {name: why for name, why in result["missing"].items() if name not in done},
        "kept": dict(machines),
    }


def _fields(line: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: line[field.name] for field in fields(Row) if field.name in line and field.name != "seed"}


def _row(line: Mapping[str, Any]) -> Row:
    """The row of a line, as far as its name goes."""
    return Row(**_fields(line))
