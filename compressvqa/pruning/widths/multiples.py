"""Which layers are no multiple of `round_to` wide after all, and why."""

from __future__ import annotations

from collections.abc import Sequence

from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.widths.cost import Widths

_SHOWN = 8


def not_rounded(
    groups: Sequence[Group], free: Sequence[Group], widths: Widths, round_to: int, shrinking: set[str]
) -> list[str]:
    """Says which layers that were to shrink are no multiple of `round_to` wide after all, and why."""
    if round_to == 1:
        return []
    kept = {g.name: g.channels for g in groups} | {g.name: int(w) for g, w in zip(free, widths, strict=True)}
    wide: dict[str, int] = {}
    for group in groups:
        for path, outputs in group.producers.items():
            wide[path] = wide.get(path, 0) + kept[group.name] * outputs
    said: dict[str, str] = {}
    for group in (g for g in free if g.name in shrinking):
        for path in group.producers:
            if wide[path] % round_to == 0:
                continue
            if any(g.frozen is not None and path in g.producers for g in groups):
                why = "some of its channels can't go"
            elif kept[group.name] < group.channels:
                why = "its other channels are kept"
            else:
                why = "narrower than one multiple" if wide[path] < round_to else "nearest to all"
            said[path] = f"{path} {wide[path]} ({why})"
    return [f"no multiple of round_to={round_to}: {few(list(said.values()))}"] if said else []


def few(items: list[str]) -> str:
    """The first items, and how many more there are."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
