"""What a pruning is asked for: the settings of `prune`, checked before a network is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.importance import Importance
from compressvqa.pruning.dependency.trace import ATTENTION
from compressvqa.pruning.widths.limits import WidthLimits
from compressvqa.pruning.widths.plan import Ratios
from compressvqa.pruning.widths.runtimes import Runtime

GLOBAL_MAX_RATIO = 0.9


@dataclass(frozen=True)
class Settings:
    """The settings of `prune`, checked as far as they can be without the network."""

    ratios: Ratios = None
    target_macs: float | None = None
    target_params: float | None = None
    target_latency: float | None = None
    runtime: Runtime = "eager"
    importance: Importance = field(default_factory=lambda: Importance("l1"))
    scope: str = "local"
    limits: WidthLimits = field(default_factory=WidthLimits)
    attention: str = "auto"
    protect: tuple[str, ...] = ()
    verify: bool = True
    remove_dead: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attention not in ("auto", *ATTENTION):
            raise PruneError(f"attention is {self.attention!r}", hint=", ".join(("auto", *ATTENTION)))
        share = self.target_latency
        if share is not None and (isinstance(share, bool) or not 0 < share <= 1):
            raise PruneError(f"target_latency must be a share in (0, 1], not {share!r}", hint="0.5 halves the time")
        if share is not None and self.ratios == "zeros":
            raise PruneError("ratios='zeros' removes just what is zero", hint="no target with it")


def settings_of(
    *,
    importance: str | Importance = "l1",
    scope: str = "local",
    max_ratio: float | None = None,
    protect: Sequence[str] = (),
    round_to: int = 1,
    min_channels: int = 1,
    **settings: Any,
) -> Settings:
    """The settings that settings of `prune` make, with defaults for those that are not given.

    Raises:
        PruneError: a number is out of range, or there is no such setting.
    """
    unknown = sorted(set(settings) - {f.name for f in fields(Settings)})
    if unknown:
        raise PruneError(f"prune has no setting {unknown[0]!r}")
    if max_ratio is None:
        max_ratio = GLOBAL_MAX_RATIO if scope == "global" else 1.0
    return Settings(
        importance=importance if isinstance(importance, Importance) else Importance(importance),
        scope=scope,
        limits=WidthLimits(round_to, min_channels, max_ratio),
        protect=tuple(protect),
        **settings,
    )
