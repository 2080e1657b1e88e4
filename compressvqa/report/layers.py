"""What pruning did to each layer, as a report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressvqa.report.numbers import count, percent
from compressvqa.report.results import density_before_pruning, number, pruning_figures


def layers_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """A row a layer: its path, the share of its weights before pruning and of its channels removed, both in words."""
    pruning, density = pruning_figures(results), density_before_pruning(results)
    removed, before = pruning.get("removed") or {}, pruning.get("widths_before") or {}
    gone_blocks = (pruning.get("depth") or {}).get("removed") or []
    dead = {*(pruning.get("dead") or ()), *gone_blocks}
    rows = []
    for path in dict.fromkeys([*density, *removed]):
        share = number(density, path)
        gone = any(f"{path}.".startswith(f"{other}.") for other in dead)
        removed_share, words = _removed(removed.get(path, 0), before.get(path), gone) if removed else (None, "")
        rows.append(
            {
                "path": path,
                "density": share,
                "density_words": "" if share is None else percent(share),
                "removed": removed_share,
                "removed_words": words,
            }
        )
    return {
        "rows": rows,
        "title": f"Each of the {count(len(rows), 'layer')}",
        "summary": _summary(rows, removed, before),
        "has_density": bool(density),
        "has_removed": bool(removed),
        "note": _note(pruning, dead, gone_blocks),
    }


def _removed(channels: Any, before: Any, dead: bool) -> tuple[float | None, str]:
    """Share of a layer's channels that were removed, and in words."""
    removed = _count(channels)
    if dead:
        return 1.0, "whole layer"
    if not removed:
        return None, ""
    if not isinstance(before, int) or before <= 0:
        return None, str(removed)
    return removed / before, f"{removed} of {before}"


def _count(channels: Any) -> int:
    found = len(channels) if isinstance(channels, (list, tuple)) else channels
    return found if isinstance(found, int) else 0


def _summary(rows: list[dict[str, Any]], removed: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The table in a sentence or two."""
    words = []
    total = sum(width for width in before.values() if isinstance(width, int))
    gone = sum(_count(removed.get(path, 0)) for path, width in before.items() if isinstance(width, int))
    if gone and total:
        cut = sum(bool(_count(channels)) for channels in removed.values())
        words.append(
            f"Pruning removed {gone:,} of {total:,} channels ({percent(gone / total)}), in {count(cut, 'layer')}."
        )
    shares = sorted(row["density"] for row in rows if row["density"] is not None)
    if shares and shares[0] < 1:  # without sparsity there is nothing to tell
        words.append(
            f"Before it, layers kept {percent(shares[0])} to {percent(shares[-1])} of their weights "
            f"(median {percent(shares[len(shares) // 2])})."
        )
    return " ".join(words)


def _note(pruning: Mapping[str, Any], dead: set[str], gone_blocks: list[str]) -> str:
    notes = []
    if unread := dead - set(gone_blocks):
        notes.append(f"Layers that nothing reads, removed whole: {', '.join(sorted(unread))}.")
    if gone_blocks:
        notes.append(f"Residual blocks left out: {', '.join(gone_blocks)}.")
    if (error := number(pruning, "max_error")) is not None:
        notes.append(f"The pruned network differs from the original with those channels zeroed by at most {error:.1e}.")
    if pruning.get("rule"):
        notes.append(f"Ratio rule: {pruning['rule']}.")
    return " ".join(notes)
