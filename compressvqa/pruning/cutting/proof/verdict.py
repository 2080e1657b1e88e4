"""What a proof found: whether the pruned network is right, by how much it is off, and what would have been noticed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.proof.power import Power
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.torch_private import has_hooks

TOLERANCE = 1e-5
_EXCUSED = 1e-2  # an error up to here may be excused by rounding where a network runs in 32 bits only


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Args:
        error: largest difference of any output, relative to how much that output moves between inputs, or to its
            largest value where that is less.
        failure: why the pruned network does not run at all, or None.
        allowed: the largest error that rounding explains.
        of_size: largest difference relative to an output's largest value.
        still: whether no output moves between inputs, so that nothing can be seen in them.
        power: what the same comparison notices of wrong cuts, where that was asked for.
        share: of noise on the weights in the trial whose draws it is of; None where it is of further ones.
    """

    error: float
    failure: str | None = None
    allowed: float = TOLERANCE
    of_size: float = 0.0
    still: bool = False
    power: Power = field(default_factory=Power)
    share: float | None = 0.0

    def __str__(self) -> str:
        if self.failure is not None:
            return f"without some of its channels the network does not run ({self.failure})"
        return f"without some of its channels the output is off by {self.error:.1e}"

    @property
    def doubtful(self) -> bool:
        """Whether rounding in 32 bits may be at fault, which 64 bits decide.

        However large the error is: outputs may be small differences of numbers that are nearly equal, as those of a
        full-reference network are whose features hardly depend on its inputs.
        """
        return self.failure is None and self.error > TOLERANCE and math.isfinite(self.error)

    @property
    def excusable(self) -> bool:
        """Whether the error is small enough to be explained by rounding where 64 bits can't be asked."""
        return self.of_size < _EXCUSED

    @property
    def passed(self) -> bool:
        """Whether the pruned network equals the zeroed one."""
        return self.failure is None and self.error <= self.allowed


def refused(verdict: Verdict, names: Sequence[str], model: nn.Module) -> PruneError:
    """The error for a pruning that does not pass."""
    hooked = [path or "the network" for path, m in modules_of(model) if has_hooks(m)]
    if hooked:
        return PruneError(
            f"the pruned copy is not right ({verdict.failure or f'off by {verdict.error:.1e}'}): a hook that holds the "
            "original network is copied as it is",
            where=", ".join(hooked[:3]),
            hint="remove the hooks, prune, and set them on the result",
        )
    what = verdict.failure or f"its output is off by {verdict.error:.1e} from the network with those channels zeroed"
    return PruneError(f"the pruned network is not right: {what}", where=", ".join(names[:3]), hint="protect these")
