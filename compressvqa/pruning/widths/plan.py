"""What a pruning plan says: how wide every group becomes. It is data, and cuts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compressvqa.pruning.widths.runtimes import Timing


@dataclass(frozen=True)
class PruningPlan:
    """The width of every group.

    Args:
        widths: (group name, channels, channels kept), in network order.
        frozen: reasons by name of the groups that are kept whole.
        params: parameters before and after.
        macs: multiply-accumulates before and after (convolutions, linear layers, products of activations).
        dead: paths of modules that are removed because nothing reads them.
        notes: what was decided on the way and deserves saying.
        latency: what was measured, where a latency was asked for.
    """

    widths: tuple[tuple[str, int, int], ...]
    frozen: Mapping[str, str]
    params: tuple[int, int]
    macs: tuple[int, int]
    dead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    latency: Timing | None = None

    @property
    def kept(self) -> dict[str, int]:
        """Channels kept, by group name."""
        return {name: kept for name, _, kept in self.widths}

    def __str__(self) -> str:
        wide = max([len(name) for name, _, _ in self.widths] + [len(n) for n in self.frozen] + [5])
        lines = [f"{'group':<{wide}}  channels  kept"]
        lines += [f"{name:<{wide}}  {channels:>8}  {kept:>4}" for name, channels, kept in self.widths]
        lines += [f"{name:<{wide}}  whole: {reason}" for name, reason in self.frozen.items()]
        lines += [f"removed, nothing reads it: {path}" for path in self.dead]
        for what, (before, after) in (("parameters", self.params), ("MACs", self.macs)):
            lines.append(f"{what}: {before:,} -> {after:,} ({after / max(before, 1):.2%})")
        lines += [] if self.latency is None else [f"latency: {self.latency}"]
        return "\n".join([*lines, *self.notes])
